//! JSON files, and the builder's atomic writes. A file is written to a temporary sibling and renamed, so that neither
//! another process nor a later run ever reads half of one.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};
use std::path::Path;

use mkgc_builder::files::parent_folder;
pub use mkgc_builder::files::write_atomically;
use mkgc_builder::plain;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tempfile::NamedTempFile;

use crate::error::{Error, Result};

/// Reads a JSON file.
///
/// # Errors
/// A file that is missing or does not hold a `T`; the message names the path, the line and the key.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let bytes = fs_err::read(path)?;
    plain::json(&bytes).map_err(|misread| Error::Usage(format!("{}: {misread}", path.display())))
}

/// Writes a value as indented JSON, atomically.
///
/// # Errors
/// The folder cannot be written.
pub fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let mut text = serde_json::to_string_pretty(value)?;
    text.push('\n');
    Ok(write_atomically(path, text.as_bytes())?)
}

/// Writes a value as indented JSON, atomically, and returns when it has reached the disk.
///
/// # Errors
/// The folder cannot be written.
pub fn write_json_durably(path: &Path, value: &impl Serialize) -> Result<()> {
    let mut text = serde_json::to_string_pretty(value)?;
    text.push('\n');
    write_durably(path, text.as_bytes())
}

/// Writes bytes atomically, and returns when they have reached the disk.
///
/// # Errors
/// The folder cannot be written.
pub fn write_durably(path: &Path, bytes: &[u8]) -> Result<()> {
    let folder = parent_folder(path);
    let write = || {
        fs_err::create_dir_all(folder)?;
        let mut file = NamedTempFile::new_in(folder)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        Ok(file)
    };
    let file = write().map_err(|error: io::Error| unwritable(path, &error))?;
    mkgc_builder::files::persist(file, path)?;
    sync_folder(folder)
}

/// Waits until the files of a folder and of those in it have reached the disk.
///
/// # Errors
/// A file cannot be opened, or the disk fails.
pub fn sync_files(folder: &Path) -> Result<()> {
    for entry in fs_err::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() { sync_files(&path)? } else { fs_err::File::open(&path)?.sync_all()? }
    }
    sync_folder(folder)
}

/// Waits until the names in a folder have reached the disk. Some file systems cannot do so and need not.
///
/// # Errors
/// The folder cannot be opened.
fn sync_folder(folder: &Path) -> Result<()> {
    #[cfg(unix)]
    fs_err::File::open(folder)?.sync_all().ok();
    #[cfg(not(unix))]
    let _ = folder;
    Ok(())
}

/// The end of a message about trouble of the machine, after which a run goes on as it is.
pub const GOES_ON: &str = "give the same command again, which goes on";

/// Makes the error about a file of a run that cannot be written, with the remedy.
pub fn unwritable(path: &Path, error: &impl Display) -> Error {
    let text = error.to_string();
    // Other crates wrap the system's error as text; its number is always there.
    let number = text.split_once("(os error ").and_then(|(_, rest)| rest.split_once(')')?.0.parse().ok());
    let reason = match number.map(|number| io::Error::from_raw_os_error(number).kind()) {
        Some(ErrorKind::StorageFull | ErrorKind::QuotaExceeded) => "the disk is full; free some space",
        Some(ErrorKind::ReadOnlyFilesystem) => "the disk can only be read; make it writable",
        Some(ErrorKind::PermissionDenied) => "you may not write to its folder; change its permissions",
        Some(ErrorKind::NotFound) => "its folder is gone; put it back",
        _ => return Error::Usage(format!("{}: cannot be written: {text}; check the disk", path.display())),
    };
    let reason = format!("{reason} and {GOES_ON}");
    Error::Usage(format!("{}: cannot be written: {reason}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn an_error_of_the_disk_is_named_with_the_remedy() {
        let full = io::Error::from_raw_os_error(28);
        let message = unwritable(Path::new("run/a.safetensors"), &format!("I/O error: {full}")).to_string();
        assert_eq!(
            message,
            "run/a.safetensors: cannot be written: the disk is full; free some space and give the same command again, which goes on"
        );
    }
}
