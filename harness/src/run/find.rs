//! Run folders below the folders that a user names.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::RunFolder;
use crate::error::Result;

/// Finds the run folders at or below the given ones, each once, in the order of names.
pub fn find(given: &[impl AsRef<Path>]) -> Result<Vec<PathBuf>> {
    let mut known = BTreeSet::new();
    let mut folders = Vec::new();
    for path in given.iter().map(AsRef::as_ref) {
        let mut found = Vec::new();
        descend(path, &mut found)?;
        if found.is_empty() {
            let reason = "holds no run.json, nor does any folder below; give folders that `mkgc train --out` wrote";
            return Err(RunFolder::new(path).error(reason));
        }
        for folder in found {
            if known.insert(fs_err::canonicalize(&folder)?) {
                folders.push(folder);
            }
        }
    }
    Ok(folders)
}

fn descend(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    if RunFolder::new(folder).started() {
        found.push(folder.to_owned());
        return Ok(());
    }
    let mut below = Vec::new();
    for entry in fs_err::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            below.push(entry.path());
        }
    }
    below.sort();
    below.iter().try_for_each(|folder| descend(folder, found))
}
