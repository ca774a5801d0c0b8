//! A folder under construction. It is filled beside the place where it is to appear and renamed once it is whole, so that
//! nobody ever sees half of it. A process that fails leaves nothing; [`super::leftovers`] removes what a killed one left.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::leftovers::{OLD, PREFIX, sign, unsign};
use super::paths::parent_folder;
use super::target::Target;
use crate::error::Result;

/// The folder to fill, in the folder under construction.
const NEW: &str = "new";

/// How often a folder that other processes keep replacing is replaced again.
const ATTEMPTS: usize = 100;

/// A folder under construction, which is deleted if it is dropped before it is installed.
#[derive(Debug)]
pub struct StagedFolder {
    // Fields are dropped in this order: note, folder, the folders above it.
    _note: File,
    root: TempDir,
    _above: FoldersAbove,
    target: Target,
}

impl StagedFolder {
    /// Makes an empty folder beside its place, and the folders above both if necessary.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn create(target: Target) -> Result<Self> {
        let make = || {
            let parent = parent_folder(target.path());
            let above = FoldersAbove::make(parent)?;
            let root = tempfile::Builder::new().prefix(PREFIX).tempdir_in(parent)?;
            let note = sign(root.path(), target.path())?;
            fs_err::create_dir(root.path().join(NEW))?;
            Ok((note, root, above))
        };
        match make() {
            Ok((note, root, above)) => Ok(Self { _note: note, root, _above: above, target }),
            Err(error) => Err(target.unwritable(&error)),
        }
    }

    /// Returns the folder to fill.
    pub fn path(&self) -> PathBuf {
        self.root.path().join(NEW)
    }

    /// Moves the folder to its place. What was there is deleted once the new folder is in place.
    ///
    /// # Errors
    /// Something has appeared in the place that may not be replaced, or a folder cannot be renamed. What was there is
    /// then put back.
    pub fn install(self) -> Result<()> {
        let moved = self.move_in();
        let old = self.root.path().join(OLD);
        if let Err(error) = &moved
            && old.exists()
            && fs::rename(&old, self.target.path()).is_err()
        {
            unsign(self.root.path());
            let old = self.root.keep().join(OLD);
            return Err(self.target.error(format!("{error}; the folder that was to be replaced is {}", old.display())));
        }
        moved
    }

    fn move_in(&self) -> Result<()> {
        let place = self.target.path();
        let old = self.root.path().join(OLD);
        for _ in 0..ATTEMPTS {
            // Renaming a folder never replaces one that is not empty, so what has appeared in the meantime is safe.
            let Err(error) = fs::rename(self.path(), place) else { return Ok(()) };
            let taken = [ErrorKind::DirectoryNotEmpty, ErrorKind::AlreadyExists, ErrorKind::NotADirectory];
            if !taken.contains(&error.kind()) && fs::symlink_metadata(place).is_err() {
                return Err(self.target.unwritable(&error));
            }
            self.target.check_free()?;
            if old.exists() {
                // Another process has put a whole folder into the place that this one had cleared.
                fs_err::remove_dir_all(&old)?;
            }
            if let Err(error) = fs::rename(place, &old)
                && error.kind() != ErrorKind::NotFound
            {
                return Err(self.target.unwritable(&error));
            }
        }
        Err(self.target.error("other commands keep replacing it; wait for them, or choose another --out"))
    }
}

/// The folders that were made above a folder under construction, deepest first. Those that are empty at the end are
/// deleted.
#[derive(Debug)]
struct FoldersAbove(Vec<PathBuf>);

impl FoldersAbove {
    fn make(parent: &Path) -> io::Result<Self> {
        let missing = parent.ancestors().take_while(|folder| !folder.as_os_str().is_empty() && !folder.exists());
        let made = Self(missing.map(Path::to_path_buf).collect());
        fs_err::create_dir_all(parent)?;
        Ok(made)
    }
}

impl Drop for FoldersAbove {
    fn drop(&mut self) {
        for folder in &self.0 {
            fs::remove_dir(folder).ok();
        }
    }
}
