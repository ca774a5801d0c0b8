//! A file that is not whole yet: `NAME.part` beside its place, which a later attempt goes on with.

use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use fs_err::{File, OpenOptions};

use crate::error::{Error, Result};
use crate::files::sha256_file;

/// The beginning of a file, open for what follows and locked against other processes.
pub(super) struct PartFile {
    path: PathBuf,
    file: File,
    length: u64,
}

impl PartFile {
    /// Opens the part that an earlier attempt has left beside `target`, or starts one.
    ///
    /// # Errors
    /// It cannot be opened, or another process writes it.
    pub(super) fn open(target: &Path) -> Result<Self> {
        let mut path = target.as_os_str().to_owned();
        path.push(".part");
        let path = PathBuf::from(path);
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path)?;
        // Whoever held the lock a moment ago has moved the file to its place, so it is no part any more.
        if matches!(file.try_lock(), Err(std::fs::TryLockError::WouldBlock)) || !path.exists() {
            return Err(Error::dataset(&path, "another `mkgc fetch` is writing it; wait for that one"));
        }
        let length = file.seek(SeekFrom::End(0))?;
        Ok(Self { path, file, length })
    }

    /// Returns the number of bytes so far.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Adds bytes to the end.
    ///
    /// # Errors
    /// They cannot be written.
    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes)?;
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Forgets all bytes.
    ///
    /// # Errors
    /// The file cannot be truncated.
    pub(super) fn restart(&mut self) -> Result<()> {
        self.file.set_len(0)?;
        self.file.rewind()?;
        self.length = 0;
        Ok(())
    }

    /// Returns the SHA-256 of the bytes so far in lower-case hexadecimal.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(super) fn sha256(&self) -> Result<String> {
        sha256_file(&self.path)
    }

    /// Moves the whole file to its place, in one step.
    ///
    /// # Errors
    /// It cannot be written to the disk or renamed.
    pub(super) fn install(self, target: &Path) -> Result<()> {
        self.file.sync_all()?;
        fs_err::rename(&self.path, target)?;
        Ok(())
    }

    /// Leaves the bytes for a later attempt, and no file if there are none.
    ///
    /// # Errors
    /// The empty file cannot be removed.
    pub(super) fn leave(self) -> Result<()> {
        if self.length == 0 {
            fs_err::remove_file(&self.path)?;
        }
        Ok(())
    }
}
