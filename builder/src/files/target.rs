//! The place of a folder that a command will make: what is there already, and whether it may be replaced.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::failure::{MOUNT_POINT, unwritable};
use super::leftovers::remove_leftovers;
use super::paths::{check_folder, parent_folder};
use crate::error::{Error, Result};

/// Which folders a new one may replace. An empty folder is always replaced.
#[derive(Debug, Clone, Copy)]
pub struct Replacing {
    /// Folders that hold a file of this name are replaced; others never are.
    pub holding: Option<&'static str>,
    /// What to say of a folder that is not replaced, with the remedy.
    pub refusal: &'static str,
}

/// The place of a folder that a command will make.
#[derive(Debug)]
pub struct Target {
    /// The path as the user gave it, for messages.
    given: PathBuf,
    /// The same path with symbolic links followed.
    path: PathBuf,
    replacing: Replacing,
}

impl Target {
    /// Finds the place that `out` names, and removes what killed processes left beside it. Where `out` is a symbolic
    /// link, the folder that it points to will be replaced and the link stays.
    ///
    /// # Errors
    /// Something is there that may not be replaced; `out` leads nowhere or through a file.
    pub fn open(out: &Path, replacing: Replacing) -> Result<Self> {
        // Without a slash at the end, which would follow a link too early.
        let given: PathBuf = out.components().collect();
        let path = resolve(&given)?;
        remove_leftovers(parent_folder(&path));
        let target = Self { given, path, replacing };
        target.check_free()?;
        Ok(target)
    }

    /// Returns the path with symbolic links followed.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes an error about the place.
    pub(super) fn error(&self, reason: impl Into<String>) -> Error {
        Error::dataset(&self.given, reason)
    }

    /// Makes an error that says why the folder cannot be made.
    pub(super) fn unwritable(&self, error: &io::Error) -> Error {
        unwritable(&self.given, error)
    }

    /// Checks that nothing is in the place that may not be replaced.
    ///
    /// # Errors
    /// Something is there that may not be replaced.
    pub(super) fn check_free(&self) -> Result<()> {
        let mut checked = self.look();
        for _ in 0..FURTHER_LOOKS {
            if checked.is_err() {
                checked = self.look();
            }
        }
        checked
    }

    fn look(&self) -> Result<()> {
        if fs::symlink_metadata(&self.path).is_err() {
            return Ok(());
        }
        if !self.path.is_dir() {
            return Err(self.error("is a file where a folder is to be made; choose another --out"));
        }
        if is_around_current_folder(&self.path) {
            return Err(self.error("is the current folder or around it; give --out a folder to make, such as ./new"));
        }
        let empty = fs_err::read_dir(&self.path)?.next().is_none();
        if !empty && !self.replacing.holding.is_some_and(|name| self.path.join(name).is_file()) {
            return Err(self.error(self.replacing.refusal));
        }
        if is_mount_point(&self.path) {
            return Err(self.error(MOUNT_POINT));
        }
        Ok(())
    }
}

/// How often a place that seems taken is looked at again, because another command may have been replacing the folder.
const FURTHER_LOOKS: usize = 5;

/// Follows symbolic links. A path that does not exist is returned as it is.
fn resolve(out: &Path) -> Result<PathBuf> {
    if let Ok(path) = out.canonicalize() {
        return Ok(path);
    }
    if out.is_symlink() {
        let reason = "is a symbolic link that leads to no folder; make the folder, or delete the link";
        return Err(Error::dataset(out, reason));
    }
    if out.file_name().is_none() {
        return Err(Error::Usage(format!("--out \"{}\" names no folder; give the path of one to make", out.display())));
    }
    check_folder(out)?;
    Ok(out.to_owned())
}

/// Returns whether a process in the current folder would lose it if `path` were replaced.
fn is_around_current_folder(path: &Path) -> bool {
    std::env::current_dir().and_then(|current| current.canonicalize()).is_ok_and(|current| current.starts_with(path))
}

/// Returns whether another disk is mounted at `path`.
#[cfg(unix)]
fn is_mount_point(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let disk = |path: &Path| fs::metadata(path).map(|found| found.dev()).ok();
    disk(path).zip(disk(parent_folder(path))).is_some_and(|(own, above)| own != above)
}

/// Returns whether another disk is mounted at `path`.
#[cfg(not(unix))]
fn is_mount_point(_path: &Path) -> bool {
    false
}
