//! Folders that a command fills again and again, such as that of a report. A mark in the folder lists what the command wrote:
//! that alone is its own. It replaces and removes nothing else, so whatever a user keeps in the folder stays.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use mkgc_builder::files::{join_inside, stays_inside};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::files::{read_json, write_json};

/// The content of a mark.
#[derive(Debug, Serialize, Deserialize)]
struct Mark {
    /// The version of mkgc that wrote them, for people.
    code_version: String,
    /// Files and folders that the command wrote, relative to the folder, with `/`.
    files: BTreeSet<String>,
}

/// A folder that a command fills.
#[derive(Debug)]
pub struct OwnedFolder {
    path: PathBuf,
    mark: PathBuf,
    /// What an earlier command of the kind wrote.
    before: BTreeSet<String>,
}

impl OwnedFolder {
    /// Opens the folder for `mkgc COMMAND`, which will write `files` into it, and marks them as its own.
    ///
    /// # Errors
    /// One of the files is there and is not the command's own; the folder cannot be written.
    pub fn open(path: &Path, command: &str, files: &BTreeSet<String>) -> Result<Self> {
        let mark = mark_of(path, command);
        let before = owned(&mark);
        let taken = |file: &&String| !before.contains(*file) && fs::symlink_metadata(path.join(file)).is_ok();
        if let Some(file) = files.iter().find(taken) {
            let reason = format!("is there already and is not from an earlier `mkgc {command}`");
            let remedy = "choose another folder, or move it away";
            return Err(Error::Usage(format!("{}: {reason}; {remedy}", path.join(file).display())));
        }
        let folder = Self { path: path.to_owned(), mark, before };
        folder.sign(folder.before.union(files).cloned().collect())?;
        Ok(folder)
    }

    /// Tells whether the folder holds a file of this name that `mkgc COMMAND` did not write.
    pub fn is_foreign(path: &Path, command: &str, file: &str) -> bool {
        !owned(&mark_of(path, command)).contains(file) && fs::symlink_metadata(path.join(file)).is_ok()
    }

    /// Returns what an earlier command of the kind wrote.
    pub fn before(&self) -> &BTreeSet<String> {
        &self.before
    }

    /// Removes what an earlier command wrote and this one did not.
    ///
    /// # Errors
    /// A file cannot be removed.
    pub fn keep(self, files: &BTreeSet<String>) -> Result<()> {
        for file in self.before.difference(files) {
            let path = join_inside(&self.path, file)?;
            if fs::symlink_metadata(&path).is_ok_and(|found| !found.is_dir()) {
                fs_err::remove_file(&path)?;
            }
            // Folders that are empty now go as well; others cannot be removed.
            let folders = path.ancestors().skip(1).take_while(|folder| *folder != self.path);
            folders.for_each(|folder| drop(fs::remove_dir(folder)));
        }
        self.sign(files.clone())
    }

    fn sign(&self, files: BTreeSet<String>) -> Result<()> {
        write_json(&self.mark, &Mark { code_version: env!("CARGO_PKG_VERSION").to_owned(), files })
    }
}

/// Returns the path of the mark of `mkgc COMMAND`.
fn mark_of(path: &Path, command: &str) -> PathBuf {
    let name: String = command.chars().filter(char::is_ascii_alphabetic).collect();
    path.join(format!(".mkgc-{name}.json"))
}

/// Returns what a mark lists. One that cannot be read owns nothing, nor does one own what lies elsewhere.
fn owned(mark: &Path) -> BTreeSet<String> {
    let mut files = read_json::<Mark>(mark).map(|mark| mark.files).unwrap_or_default();
    files.retain(|file| stays_inside(file));
    files
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn names(files: &[&str]) -> BTreeSet<String> {
        files.iter().map(|&file| file.to_owned()).collect()
    }

    fn fill(path: &Path, files: &[&str]) -> Result<()> {
        let files = names(files);
        let folder = OwnedFolder::open(path, "report", &files)?;
        for file in &files {
            crate::files::write_atomically(&path.join(file), b"ours")?;
        }
        folder.keep(&files)
    }

    #[test]
    fn own_files_go_and_those_of_others_stay() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("new/report");
        fill(&path, &["a", "plots/b", "plots/c"]).unwrap();
        fs_err::write(path.join("plots/mine"), "mine").unwrap();
        fs_err::write(path.join("notes"), "mine").unwrap();
        fill(&path, &["a", "plots/c"]).unwrap();
        assert!(!path.join("plots/b").exists() && path.join("plots/c").exists());
        fill(&path, &["a"]).unwrap();
        assert!(path.join("plots/mine").exists() && path.join("notes").exists() && !path.join("plots/c").exists());
        fs_err::remove_file(path.join("plots/mine")).unwrap();
        fill(&path, &["a", "plots/c"]).unwrap();
        fill(&path, &["a"]).unwrap();
        assert!(!path.join("plots").exists(), "an empty folder of ours goes");
        let error = fill(&path, &["a", "notes"]).unwrap_err().to_string();
        assert!(error.contains("notes: is there already and is not from an earlier `mkgc report`"), "{error}");
        assert_eq!(fs_err::read_to_string(path.join("notes")).unwrap(), "mine");
        // A mark that was tampered with leads nowhere else.
        let outside = place.path().join("outside");
        fs_err::write(&outside, "mine").unwrap();
        fs_err::write(path.join(".mkgc-report.json"), r#"{"code_version": "1", "files": ["../../outside"]}"#).unwrap();
        fill(&path, &["b"]).unwrap();
        assert!(outside.exists());
    }
}
