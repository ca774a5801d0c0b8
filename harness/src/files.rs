//! JSON files and atomic writes. A file is written to a temporary sibling and renamed, so that neither another process
//! nor a later run ever reads half of one.

use std::io::Write;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};

/// Reads a JSON file.
///
/// # Errors
/// A file that is missing or does not hold a `T`; the message names the path.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let text = fs_err::read_to_string(path)?;
    serde_json::from_str(&text).map_err(|error| Error::Usage(format!("{}: {error}", path.display())))
}

/// Writes a value as indented JSON, atomically.
///
/// # Errors
/// The folder cannot be written.
pub fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let mut text = serde_json::to_string_pretty(value)?;
    text.push('\n');
    write_atomically(path, text.as_bytes())
}

/// Writes bytes atomically; makes the folder if need be.
///
/// # Errors
/// The folder cannot be written.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs_err::create_dir_all(folder)?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(bytes)?;
    persist(file, path)
}

/// Renames a temporary file in the folder of `path` to `path`, readable by everyone.
///
/// # Errors
/// The file cannot be renamed.
pub fn persist(file: tempfile::NamedTempFile, path: &Path) -> Result<()> {
    #[cfg(unix)]
    {
        // Temporary files are private; results are for everyone the folder is for.
        use std::os::unix::fs::PermissionsExt;
        file.as_file().set_permissions(std::fs::Permissions::from_mode(0o644))?;
    }
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}
