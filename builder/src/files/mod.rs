//! Files on disk, whatever they hold: SHA-256 sums, atomic writes, folders that appear as a whole or not at all, and names
//! that must stay inside their folder.

mod failure;
mod leftovers;
mod paths;
mod staged;
mod target;

pub use failure::explain;
pub use leftovers::{host, is_under_construction};
pub use paths::{is_plain_name, join_inside, parent_folder, stays_inside};
pub use staged::StagedFolder;
pub use target::{Replacing, Target};

use std::io::{self, Write};
use std::path::Path;

use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

use failure::unwritable;
use paths::check_folder;

use crate::error::Result;

/// Formats bytes as lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns the SHA-256 of bytes in lower-case hexadecimal.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Returns the SHA-256 of a file in lower-case hexadecimal, without holding the whole file in memory.
///
/// # Errors
/// The file cannot be read.
pub fn sha256_file(path: &Path) -> Result<String> {
    let mut digest = Sha256::new();
    io::copy(&mut fs_err::File::open(path)?, &mut digest)?;
    Ok(hex(&digest.finalize()))
}

/// A file that hashes the bytes written to it, so that its sum is known without reading it back.
pub(crate) struct HashingFile {
    file: fs_err::File,
    digest: Sha256,
    bytes: u64,
}

impl HashingFile {
    /// Creates the file, or truncates an existing one.
    ///
    /// # Errors
    /// The file cannot be created.
    pub(crate) fn create(path: &Path) -> Result<Self> {
        Ok(Self { file: fs_err::File::create(path)?, digest: Sha256::new(), bytes: 0 })
    }

    /// Returns the number of bytes written so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Closes the file and returns the SHA-256 of its content in lower-case hexadecimal.
    pub(crate) fn sha256(self) -> String {
        hex(&self.digest.finalize())
    }
}

impl Write for HashingFile {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let written = self.file.write(buffer)?;
        self.digest.update(&buffer[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Writes bytes to a temporary file next to `path` and renames it, so that readers never see a partial file. Creates
/// the parent folder if necessary.
///
/// # Errors
/// The folder or the file cannot be written.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    let folder = parent_folder(path);
    check_folder(folder)?;
    let write = || {
        fs_err::create_dir_all(folder)?;
        let mut file = NamedTempFile::new_in(folder)?;
        file.write_all(bytes)?;
        Ok(file)
    };
    persist(write().map_err(|error| unwritable(path, &error))?, path)
}

/// Renames a finished temporary file, which must be in the folder of `path`, to `path`.
///
/// # Errors
/// The file cannot be renamed.
pub fn persist(file: NamedTempFile, path: &Path) -> Result<()> {
    #[cfg(unix)]
    {
        // Temporary files are private to their owner; finished ones should be readable by everyone who has the folder.
        use std::os::unix::fs::PermissionsExt;
        let permissions = std::fs::Permissions::from_mode(0o644);
        file.as_file().set_permissions(permissions).map_err(|error| unwritable(path, &error))?;
    }
    file.persist(path).map_err(|error| unwritable(path, &error.error))?;
    Ok(())
}
