//! What to say when something cannot be written.

use std::io::{self, ErrorKind};
use std::path::Path;

use super::leftovers::PREFIX;
use crate::error::Error;

/// What to say of a folder that is the root of a disk.
pub(super) const MOUNT_POINT: &str = "is a mount point, which cannot be replaced; choose a folder in it";

/// Says why a file or folder cannot be written, and what to do.
pub(super) fn unwritable(path: &Path, error: &io::Error) -> Error {
    let reason = match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            "the disk is full; free some space, or choose another place"
        }
        ErrorKind::ReadOnlyFilesystem => "the disk can only be read; choose another place",
        ErrorKind::PermissionDenied => "you may not write to its folder; choose another place",
        ErrorKind::ResourceBusy | ErrorKind::CrossesDevices => return Error::dataset(path, MOUNT_POINT),
        _ => return Error::dataset(path, format!("cannot be written: {error}; choose another place")),
    };
    Error::dataset(path, format!("cannot be written: {reason}"))
}

/// Rewords an error about a file of the folder under construction for `out`, because the file is gone by the time that
/// anybody reads the message.
pub fn explain(error: Error, out: &Path) -> Error {
    match error {
        Error::Io(error) if error.to_string().contains(PREFIX) => match error.kind() {
            ErrorKind::NotFound => {
                let reason = "another program deleted or moved what was written; give the command again";
                Error::dataset(out, format!("cannot be written: {reason}"))
            }
            _ => unwritable(out, &error),
        },
        error => error,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn errors_of_the_disk_name_the_folder_and_the_remedy() {
        let out = Path::new("data/small");
        for (kind, remedy) in [
            (ErrorKind::StorageFull, "the disk is full; free some space"),
            (ErrorKind::QuotaExceeded, "the disk is full; free some space"),
            (ErrorKind::ReadOnlyFilesystem, "choose another place"),
            (ErrorKind::PermissionDenied, "choose another place"),
            (ErrorKind::NotFound, "give the command again"),
            (ErrorKind::ResourceBusy, "mount point"),
            (ErrorKind::InvalidInput, "choose another place"),
        ] {
            let error = io::Error::new(kind, format!("failed to write to file `data/{PREFIX}x/new/tasks/y`: reason"));
            let text = explain(error.into(), out).to_string();
            assert!(text.starts_with("data/small: ") && text.contains(remedy), "{text}");
        }
        let other = io::Error::new(ErrorKind::NotFound, "failed to open file `raw/train.txt`");
        assert!(explain(other.into(), out).to_string().contains("raw/train.txt"));
    }
}
