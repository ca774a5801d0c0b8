//! Paths that are about to be written, and names that become such paths. A name that was read from a file must not lead out
//! of the folder that it is joined to.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Returns whether a name is a plain file name on every operating system: no separator, no drive, not the folder itself
/// or its parent.
pub fn is_plain_name(name: &str) -> bool {
    !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '\\', '\0', ':'])
}

/// Returns whether a relative path, written with `/`, stays inside the folder that it is joined to.
pub fn stays_inside(path: &str) -> bool {
    path.split('/').all(|part| part == "." || is_plain_name(part))
}

/// Joins a relative path to the folder that a command writes into.
///
/// # Errors
/// The path leads out of the folder, by its parts or through a symbolic link on the way.
pub fn join_inside(folder: &Path, path: &str) -> Result<PathBuf> {
    let outside = |reason: &str| Err(Error::dataset(folder, format!("nothing is written to `{path}` in it: {reason}")));
    if !stays_inside(path) {
        return outside("the path leads out of the folder");
    }
    let joined = folder.join(path);
    let on_the_way = joined.ancestors().take_while(|ancestor| *ancestor != folder);
    match on_the_way.into_iter().find(|ancestor| ancestor.exists()) {
        Some(found) if !fs_err::canonicalize(found)?.starts_with(fs_err::canonicalize(folder)?) => {
            outside("a symbolic link leads out of the folder; delete the link, or choose another --out")
        }
        _ => Ok(joined),
    }
}

/// Returns the folder that contains `path`; the current folder for a bare name.
pub fn parent_folder(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Checks that a folder exists or could be made, as far as what stands above it goes.
///
/// # Errors
/// It is a file or in one, or on the other side of a symbolic link that leads nowhere.
pub(super) fn check_folder(path: &Path) -> Result<()> {
    match path.ancestors().find(|above| fs::symlink_metadata(above).is_ok()) {
        Some(above) if !above.is_dir() => {
            Err(Error::dataset(above, "is not a folder, so nothing can be made in it; choose another place"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_paths_that_stay_inside_are_joined() {
        for path in ["sep10", "a/b", "./a", ".hidden", "..a", "a..", "a b", "é"] {
            assert!(stays_inside(path), "{path}");
        }
        let outside =
            ["", "/", "/a", "a/", "a//b", "..", "../a", "a/../../b", "a/..", r"..\a", r"\a", "C:", "C:/a", "a\0b"];
        for path in outside {
            assert!(!stays_inside(path), "{path}");
            assert!(join_inside(Path::new("out"), path).unwrap_err().to_string().contains("out: "), "{path}");
        }
        assert_eq!(join_inside(Path::new("out"), "a/b").unwrap(), Path::new("out/a/b"));
    }

    #[cfg(unix)]
    #[test]
    fn links_may_lead_to_another_place_inside_but_not_out() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("out");
        fs::create_dir_all(out.join("own")).unwrap();
        std::os::unix::fs::symlink("own", out.join("inner")).unwrap();
        std::os::unix::fs::symlink("..", out.join("outer")).unwrap();
        assert_eq!(join_inside(&out, "inner/new/x").unwrap(), out.join("inner/new/x"));
        assert!(join_inside(&out, "outer/new/x").unwrap_err().to_string().contains("symbolic link"));
    }
}
