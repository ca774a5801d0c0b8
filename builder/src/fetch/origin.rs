//! Where files come from: the published addresses, or an address, a folder or a file of the user's.

use std::path::PathBuf;

use crate::error::{Error, Result};
use crate::files::sha256_file;
use crate::sources::{PublishedFile, Source};

/// Where the files of a corpus come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Origin {
    /// The addresses at which the files are published.
    Published,
    /// An address, below which the files have their published names, or which serves one of them.
    Address(String),
    /// A folder that has the files, under one of their published names.
    Folder(PathBuf),
    /// A file on the user's disk that is one of the corpus's.
    File(PathBuf),
}

impl Origin {
    /// Reads what the user has given instead of the published addresses.
    ///
    /// # Errors
    /// It is neither an `http` or `https` address nor a file nor a folder.
    pub(super) fn new(from: Option<&str>) -> Result<Self> {
        let Some(from) = from else { return Ok(Self::Published) };
        if from.starts_with("http://") || from.starts_with("https://") {
            return Ok(Self::Address(from.to_owned()));
        }
        let path = PathBuf::from(from);
        if path.is_dir() {
            Ok(Self::Folder(path))
        } else if path.is_file() {
            Ok(Self::File(path))
        } else {
            let reason = "there is no such file or folder, and addresses begin with http:// or https://";
            Err(Error::Usage(format!("--from {from}: {reason}")))
        }
    }

    /// Returns the file of a corpus that an address or a path names, if it names one and not a folder of them.
    pub(super) fn single<'a>(&self, source: &'a Source) -> Option<&'a PublishedFile> {
        let name = match self {
            Self::Published | Self::Folder(_) => return None,
            Self::Address(address) => address.rsplit('/').next()?.replace("%20", " "),
            Self::File(path) => path.file_name()?.to_string_lossy().into_owned(),
        };
        source.files.iter().find(|file| published_names(file).any(|known| known == name))
    }

    /// Returns the addresses of a file, in the order in which to try them. If the file is the `only` one, the user's
    /// address may also be that of the file itself.
    pub(super) fn addresses(&self, file: &PublishedFile, only: bool) -> Vec<String> {
        let Self::Address(address) = self else { return file.addresses.clone() };
        let base = address.trim_end_matches('/');
        // A space is all that these names have to escape.
        let names: Vec<String> = published_names(file).map(|name| name.replace(' ', "%20")).collect();
        if names.iter().any(|name| base.ends_with(&format!("/{name}"))) {
            return vec![base.to_owned()];
        }
        let below = names.iter().map(|name| format!("{base}/{name}"));
        below.chain((only && base == address).then(|| address.clone())).collect()
    }

    /// Returns whether this is a folder that has a file as published.
    pub(super) fn has(&self, file: &PublishedFile) -> bool {
        let Ok(Some(path)) = self.path(file) else { return false };
        matches!(self, Self::Folder(_)) && sha256_file(&path).is_ok_and(|sum| file.is_published(&sum))
    }

    /// Returns the path of a file on the user's disk; none if the files come from the network.
    ///
    /// # Errors
    /// The folder does not have the file.
    pub(super) fn path(&self, file: &PublishedFile) -> Result<Option<PathBuf>> {
        match self {
            Self::Published | Self::Address(_) => Ok(None),
            Self::File(path) => Ok(Some(path.clone())),
            Self::Folder(folder) => {
                let found = published_names(file).map(|name| folder.join(name)).find(|path| path.is_file());
                let names: Vec<&str> = published_names(file).collect();
                let missing = || Error::dataset(folder, format!("has no `{}`", names.join("` or `")));
                found.ok_or_else(missing).map(Some)
            }
        }
    }
}

/// Returns the names under which the very bytes of a file are published.
fn published_names(file: &PublishedFile) -> impl Iterator<Item = &str> {
    std::iter::once(&file.name).chain(&file.aliases).map(String::as_str)
}
