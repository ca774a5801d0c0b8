//! Run folders below the folders that a user names. Symbolic links are followed, each folder counts once, and what a killed
//! command left half-made counts as nothing.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};

use mkgc_builder::files::{is_under_construction, parent_folder};

use super::RunFolder;
use crate::error::Result;

/// The files of a run, any of which tells that a folder is one.
const FILES: [&str; 3] = ["run.json", "result.json", "failure.json"];

/// Finds the run folders at or below the given ones, each once, in the order of names. Hidden folders below them are left
/// out. A symbolic link that leads nowhere is found as well, because the run that it stands for is missing.
///
/// # Errors
/// A folder cannot be read, or there is no run at or below one of those given.
pub fn find(given: &[impl AsRef<Path>]) -> Result<Vec<PathBuf>> {
    let mut search = Search::default();
    for path in given.iter().map(AsRef::as_ref) {
        let before = search.met;
        search.seen.clear();
        // A board stands for the folder that it was published in.
        let path = if is_board(path) { parent_folder(path) } else { path };
        search.descend(path, path)?;
        if search.met == before {
            let reason = "holds no run.json, nor does any folder below; give folders that `mkgc train --out` wrote";
            return Err(RunFolder::new(path).error(reason));
        }
    }
    Ok(search.found)
}

fn is_board(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name == "board.json") && path.is_file()
}

#[derive(Default)]
struct Search {
    found: Vec<PathBuf>,
    /// Runs met, those met before included.
    met: usize,
    /// Runs met, without symbolic links in their paths.
    known: BTreeSet<PathBuf>,
    /// Folders seen on the way from the one that the user gave, because links may form a circle.
    seen: BTreeSet<PathBuf>,
}

impl Search {
    /// Looks at a folder and, unless it is a run, at those in it. `top` is the folder that the user gave.
    fn descend(&mut self, folder: &Path, top: &Path) -> Result<()> {
        let Ok(real) = fs::canonicalize(folder) else {
            // A link that leads nowhere, if it is not the folder that the user gave.
            if folder != top {
                self.add(folder, folder.to_owned());
                return Ok(());
            }
            return Err(RunFolder::new(folder).error("is not there or cannot be read; give folders of runs"));
        };
        if unfinished(&real) || !self.seen.insert(real.clone()) {
            return Ok(());
        }
        if FILES.iter().any(|name| fs::symlink_metadata(folder.join(name)).is_ok()) {
            self.add(folder, real);
            return Ok(());
        }
        if !real.is_dir() {
            return Err(RunFolder::new(folder).error("is a file; give the folder of the run"));
        }
        let mut below = Vec::new();
        let entries = match fs_err::read_dir(folder) {
            // It may hold runs: one without a number stands for them.
            Err(_) if folder != top => {
                self.add(folder, real);
                return Ok(());
            }
            entries => entries?,
        };
        for entry in entries {
            let path = entry?.path();
            if !hidden(&path) && leads_on(&path) && !loops(&path, &real) {
                below.push(path);
            }
        }
        below.sort();
        below.iter().try_for_each(|path| self.descend(path, top))
    }

    fn add(&mut self, folder: &Path, real: PathBuf) {
        self.met += 1;
        if self.known.insert(real) {
            self.found.push(folder.to_owned());
        }
    }
}

/// Tells whether a folder, or one that it is in, is still being made by a command, or was when the command was killed.
fn unfinished(folder: &Path) -> bool {
    folder.components().any(|part| match part {
        Component::Normal(name) => is_under_construction(&name.to_string_lossy()),
        _ => false,
    })
}

fn hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'))
}

/// Tells whether a path is a folder, a link to one, or a link that leads nowhere.
fn leads_on(path: &Path) -> bool {
    fs::metadata(path).map_or_else(|_| path.is_symlink(), |found| found.is_dir())
}

/// Tells whether a link in the folder `real` leads to it or to a folder around it.
fn loops(path: &Path, real: &Path) -> bool {
    path.is_symlink() && fs::canonicalize(path).is_ok_and(|target| real.starts_with(target))
}

#[cfg(all(test, unix))]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::symlink;

    use super::*;

    fn names(place: &Path, given: &[PathBuf]) -> Vec<String> {
        let found = find(given).unwrap();
        found.iter().map(|path| path.strip_prefix(place).unwrap().display().to_string()).collect()
    }

    #[test]
    fn links_are_followed_and_loops_and_hidden_folders_are_not() {
        let place = tempfile::tempdir().unwrap();
        let path = |name: &str| place.path().join(name);
        for run in ["far/emr", "runs/b", "runs/.mkgc-build-x/new", "runs/.old/c", "runs/deep/er/a"] {
            fs_err::create_dir_all(path(run)).unwrap();
            fs_err::write(path(run).join("run.json"), "{}").unwrap();
        }
        symlink("../far", path("runs/c")).unwrap();
        symlink("..", path("runs/deep/up")).unwrap();
        symlink("../runs", path("runs/self")).unwrap();
        symlink("../../far/emr", path("runs/deep/same")).unwrap();
        assert_eq!(names(place.path(), &[path("runs")]), ["runs/b", "runs/c/emr", "runs/deep/er/a"]);
        // Two folders that link to each other.
        fs_err::create_dir_all(path("one")).unwrap();
        fs_err::create_dir_all(path("two")).unwrap();
        symlink("../two", path("one/two")).unwrap();
        symlink("../one", path("two/one")).unwrap();
        assert!(find(&[path("one")]).unwrap_err().to_string().contains("holds no run.json"));
        // What the user names is read, even if it is hidden, but for what is still being made.
        assert_eq!(names(place.path(), &[path("runs/.old")]), ["runs/.old/c"]);
        assert!(find(&[path("runs/.mkgc-build-x")]).is_err() && find(&[path("runs/.mkgc-build-x/new")]).is_err());
        // Twice the same is once.
        assert_eq!(names(place.path(), &[path("far/emr"), path("runs/c"), path("far")]), ["far/emr"]);
    }

    #[test]
    fn runs_without_a_record_and_links_to_nowhere_are_found() {
        let place = tempfile::tempdir().unwrap();
        let path = |name: &str| place.path().join(name);
        fs_err::create_dir_all(path("runs/bare")).unwrap();
        fs_err::write(path("runs/bare/result.json"), "{}").unwrap();
        symlink("gone", path("runs/moved")).unwrap();
        assert_eq!(names(place.path(), &[path("runs")]), ["runs/bare", "runs/moved"]);
        assert!(find(&[path("nothing")]).unwrap_err().to_string().contains("nothing"));
    }
}
