//! What is known of the published files of each corpus: names, sums, addresses, licences (`splits/sources.toml`).
//!
//! [`mod@crate::fetch`] downloads from these addresses, and the sums tell whether a file is as published.

use serde::Deserialize;

use crate::error::{Error, Result};

/// The data, with its keys explained on top.
const SOURCES: &str = include_str!("../splits/sources.toml");

/// Where the files of a corpus are published.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// Name of the corpus in protocols.
    pub name: String,
    /// What the corpus is, with its version and publisher.
    pub title: String,
    /// Address of the page about the corpus.
    pub homepage: String,
    /// Licence, or what its publishers say instead of one.
    pub license: String,
    /// Where else to look if no address serves a file any more.
    #[serde(default)]
    pub elsewhere: Vec<String>,
    /// What no plain download can fetch, such as pictures, and where it is.
    #[serde(default)]
    pub by_hand: Vec<String>,
    /// Corpora that are mistaken for this one.
    #[serde(default)]
    pub others: Vec<OtherCorpus>,
    /// The published files; none if the corpus is licensed to each user.
    #[serde(default)]
    pub files: Vec<PublishedFile>,
}

/// A corpus that is mistaken for another one, such as an earlier version.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OtherCorpus {
    /// What the corpus is, with its version.
    pub title: String,
    /// Names that its files have where they are published.
    pub names: Vec<String>,
    /// Texts that its files contain and those of the right corpus do not.
    pub marks: Vec<String>,
    /// Says where the files of the right corpus are.
    pub remedy: String,
}

/// A published file of a corpus.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublishedFile {
    /// Name in the folder of the corpus.
    pub name: String,
    /// Other names under which the same bytes are published.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// Number of bytes of the whole file, by which another file is known before it is read.
    pub bytes: u64,
    /// SHA-256 of the whole file, in lower-case hexadecimal.
    pub sha256: String,
    /// Addresses that serve the file, in the order in which they are tried.
    #[serde(default)]
    pub addresses: Vec<String>,
    /// How a file without an address was made.
    pub made: Option<String>,
    /// Why the file is fetched only on request; none if a build needs it.
    pub optional: Option<String>,
    /// Other bytes of the same content that somebody has published.
    #[serde(default)]
    pub variants: Vec<Variant>,
}

/// Other bytes of the same content, such as those with other line ends.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Variant {
    /// Name under which they are published.
    pub name: String,
    /// Number of bytes that the variant has.
    pub bytes: u64,
    /// SHA-256 of the variant, in lower-case hexadecimal.
    pub sha256: String,
    /// Who published them, and what differs.
    pub by: String,
}

impl Source {
    /// Finds a published file by one of its names.
    pub fn file(&self, name: &str) -> Option<&PublishedFile> {
        self.files.iter().find(|file| file.names().any(|known| known == name))
    }
}

impl OtherCorpus {
    /// Returns a mark of this corpus that the content of a file has.
    pub fn mark_in(&self, bytes: &[u8]) -> Option<&str> {
        let found = |mark: &&String| memchr::memmem::find(bytes, mark.as_bytes()).is_some();
        self.marks.iter().find(found).map(String::as_str)
    }
}

impl PublishedFile {
    /// Returns every name under which the file or a variant of it is published.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let variants = self.variants.iter().map(|variant| &variant.name);
        std::iter::once(&self.name).chain(&self.aliases).chain(variants).map(String::as_str)
    }

    /// Returns whether a SHA-256 in lower-case hexadecimal is that of the file or of a variant of it.
    pub fn is_published(&self, sha256: &str) -> bool {
        self.sha256 == sha256 || self.variants.iter().any(|variant| variant.sha256 == sha256)
    }
}

/// Reads what is known of every corpus.
///
/// # Errors
/// `splits/sources.toml` is damaged, which a test rules out for the one of this build.
pub fn all() -> Result<Vec<Source>> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sources {
        corpora: Vec<Source>,
    }
    let sources: Sources =
        toml::from_str(SOURCES).map_err(|error| Error::Usage(format!("splits/sources.toml: {}", error.message())))?;
    Ok(sources.corpora)
}

/// Returns whether a file is as published, given the corpus's name in protocols, the name of the file without folder and its
/// SHA-256 in lower-case hexadecimal; `None` if no published file of this name is known.
///
/// # Errors
/// The same as those of [`all`].
pub fn is_published(corpus: &str, name: &str, sha256: &str) -> Result<Option<bool>> {
    let sources = all()?;
    if sources.iter().flat_map(|source| &source.files).any(|file| file.is_published(sha256)) {
        return Ok(Some(true));
    }
    let known = sources.iter().find(|source| source.name == corpus).and_then(|source| source.file(name));
    Ok(known.map(|_| false))
}

/// Finds a corpus by its name in protocols; there is none for a corpus of the user's own.
///
/// # Errors
/// The same as those of [`all`].
pub fn find(corpus: &str) -> Result<Option<Source>> {
    Ok(all()?.into_iter().find(|source| source.name == corpus))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_has_a_sum_and_is_either_served_or_made() {
        let sources = all().unwrap();
        let names: Vec<&str> = sources.iter().map(|source| source.name.as_str()).collect();
        assert_eq!(names, ["mnre", "twitter2015", "twitter2017", "fewrel", "tacred"]);
        for file in sources.iter().flat_map(|source| &source.files) {
            let sums = file.variants.iter().map(|variant| &variant.sha256).chain([&file.sha256]);
            for sum in sums {
                assert!(sum.len() == 64 && sum.bytes().all(|byte| b"0123456789abcdef".contains(&byte)), "{sum}");
            }
            assert_eq!(file.addresses.is_empty(), file.made.is_some(), "{}", file.name);
            assert!(file.addresses.iter().all(|address| address.starts_with("https://")), "{}", file.name);
        }
    }

    #[test]
    fn a_file_is_found_by_all_its_names_and_sums() {
        let mnre = find("mnre").unwrap().unwrap();
        for name in ["mnre_val.txt", "mnre_val .txt", "ours_val.txt"] {
            assert_eq!(mnre.file(name).unwrap().name, "mnre_val.txt");
        }
        let train = mnre.file("mnre_train.txt").unwrap();
        assert!(train.is_published("1cc34438a00e2a2db73e4eba297820f926f62abd1fddc693caa13c58b62428b7"));
        assert!(train.is_published("895a42c6fa8293270d41b0564711c67b32601be1549d781db965b6fc811c9af2"));
        assert!(!train.is_published("f53c2f9b7739bea7d08aee4a91bfd6ec7432e1d0eeb83debf10f5d3291bc5215"));
        assert_eq!(find("my corpus").unwrap(), None);
    }

    #[test]
    fn files_are_as_published_or_not_or_unknown() {
        let valid = "41b5db90cb32059c14c2c3ccd50845fb77f1e3d3e4f7d0c210a61bc507d8a73e";
        assert_eq!(is_published("twitter2017", "valid.txt", valid).unwrap(), Some(true));
        assert_eq!(is_published("mine", "dev.txt", valid).unwrap(), Some(true), "whatever it is called");
        assert_eq!(is_published("twitter2017", "valid.txt", "0").unwrap(), Some(false));
        assert_eq!(is_published("twitter2017", "dev.txt", "0").unwrap(), None);
        assert_eq!(is_published("mine", "valid.txt", "0").unwrap(), None);
    }
}
