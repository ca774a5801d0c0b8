//! Finds the file of a picture in the folders that may contain it.
//!
//! 1. The first folder that has a file of exactly this name provides it.
//! 2. Otherwise a file of the same name with another extension does: first the extension of the name, then those of
//!    [`EXTENSIONS`], each in lower case, in upper case and capitalised; of these, the first folder that has one. The rest
//!    of the name is compared exactly, since names that differ in case are often names of different pictures.
//!
//! No folder is listed, so that neither memory nor time depends on how many files it has.

use std::path::{Path, PathBuf};

/// Extensions of the formats that can be decoded, the most frequent first.
const EXTENSIONS: [&str; 6] = ["jpg", "jpeg", "png", "gif", "webp", "bmp"];

/// A file that provides a picture.
pub(super) struct FoundFile {
    pub path: PathBuf,
    /// Whether the file has another extension than the name.
    pub renamed: bool,
}

/// Finds the file of a name below the folders; returns `None` if there is none.
pub(super) fn find(folders: &[PathBuf], name: &str) -> Option<FoundFile> {
    let exact = folders.iter().map(|folder| folder.join(name)).find(|path| path.is_file());
    if let Some(path) = exact {
        return Some(FoundFile { path, renamed: false });
    }
    let others = other_names(name);
    let paths = others.iter().flat_map(|other| folders.iter().map(move |folder| folder.join(other)));
    paths.into_iter().find(|path| path.is_file()).map(|path| FoundFile { path, renamed: true })
}

/// Lists the names that may stand for a name, in the order in which they are tried.
fn other_names(name: &str) -> Vec<String> {
    let own = Path::new(name).extension().and_then(|extension| extension.to_str()).map(str::to_ascii_lowercase);
    let own = own.filter(|own| EXTENSIONS.contains(&own.as_str()));
    let stem = own.as_ref().map_or(name, |own| &name[..name.len() - own.len() - 1]);
    let own = own.as_deref();
    let extensions = own.into_iter().chain(EXTENSIONS.into_iter().filter(|other| own != Some(other)));
    let cases = |extension: &str| {
        let upper = extension.to_ascii_uppercase();
        let capitalised = format!("{}{}", &upper[..1], &extension[1..]);
        [extension.to_owned(), upper, capitalised]
    };
    let names = extensions.flat_map(cases).map(|extension| format!("{stem}.{extension}"));
    names.filter(|other| other != name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exact_name_comes_first_then_its_own_extension_then_the_others() {
        assert_eq!(
            other_names("a.v2.Jpg")[..5],
            ["a.v2.jpg", "a.v2.JPG", "a.v2.jpeg", "a.v2.JPEG", "a.v2.Jpeg"].map(str::to_owned)
        );
        assert_eq!(other_names("12345.v2")[..2], ["12345.v2.jpg", "12345.v2.JPG"].map(str::to_owned));
        assert_eq!(other_names("x.png").len(), 3 * EXTENSIONS.len() - 1);
    }

    #[test]
    fn a_file_is_found_in_the_documented_order() {
        let dir = tempfile::tempdir().unwrap();
        let folders = ["one", "two"].map(|name| dir.path().join(name));
        for folder in &folders {
            std::fs::create_dir(folder).unwrap();
        }
        let found = || {
            let found = find(&folders, "x.jpg")?;
            Some((found.path.strip_prefix(dir.path()).unwrap().to_str().unwrap().to_owned(), found.renamed))
        };
        assert_eq!(found(), None);
        std::fs::write(dir.path().join("one/X.jpg"), "").unwrap();
        let case_matters = !dir.path().join("one/x.jpg").is_file();
        if case_matters {
            assert_eq!(found(), None, "another picture");
            // Each of these comes before those above it.
            for (name, renamed) in [
                ("one/x.png", true),
                ("one/x.jpeg", true),
                ("two/x.JPG", true),
                ("one/x.JPG", true),
                ("two/x.jpg", false),
            ] {
                std::fs::write(dir.path().join(name), "").unwrap();
                assert_eq!(found(), Some((name.to_owned(), renamed)));
            }
        }
    }
}
