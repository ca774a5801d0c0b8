//! The error type of this crate. Each message names the place and, where there is one, the remedy.

use std::path::{Path, PathBuf};

/// Result of a fallible function of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// What can go wrong between raw corpus files and a finished benchmark folder.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file cannot be read or written; `fs_err` puts the path into the message.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// A corpus file does not follow its format.
    #[error("{}:{line}: {reason}", file.display())]
    Corpus {
        /// Path of the corpus file.
        file: PathBuf,
        /// The line at fault, 1-based.
        line: usize,
        /// What is wrong, and what was expected.
        reason: String,
    },
    /// A protocol cannot be read, or does not fit the corpus.
    #[error("protocol: `{key}`: {reason}")]
    Protocol {
        /// The key at fault, e.g. `tasks[2]`.
        key: String,
        /// What is wrong with the key.
        reason: String,
    },
    /// A benchmark folder is damaged, foreign or in the way.
    #[error("{}: {reason}", path.display())]
    Dataset {
        /// The file or folder at fault.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        reason: String,
    },
    /// An image or a crop dictionary cannot be used.
    #[error("{}: {reason}", path.display())]
    Image {
        /// Path of the image or dictionary.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        reason: String,
    },
    /// An Arrow array or schema is invalid.
    #[error("arrow: {0}")]
    Arrow(#[from] arrow::error::ArrowError),
    /// A Parquet file cannot be read or written.
    #[error("parquet: {0}")]
    Parquet(#[from] parquet::errors::ParquetError),
    /// A JSON file cannot be read or written.
    #[error("JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// Something else was asked for that cannot be done.
    #[error("{0}")]
    Usage(String),
}

impl Error {
    /// Makes an error about a line of a corpus file.
    pub fn corpus(file: &Path, line: usize, reason: impl Into<String>) -> Self {
        Self::Corpus { file: file.to_path_buf(), line, reason: reason.into() }
    }

    /// Makes an error about a key of a protocol.
    pub fn protocol(key: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Protocol { key: key.into(), reason: reason.into() }
    }

    /// Makes an error about a benchmark folder or a file in it.
    pub fn dataset(path: &Path, reason: impl Into<String>) -> Self {
        Self::Dataset { path: path.to_path_buf(), reason: reason.into() }
    }

    /// Makes an error about an image or a crop dictionary.
    pub fn image(path: &Path, reason: impl Into<String>) -> Self {
        Self::Image { path: path.to_path_buf(), reason: reason.into() }
    }
}

/// Returns ` (did you mean `x`?)` for the candidate nearest to a mistyped name, or nothing if none is near.
pub fn hint<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    candidates
        .into_iter()
        .map(|c| (strsim::normalized_damerau_levenshtein(&name.to_lowercase(), &c.to_lowercase()), c))
        .filter(|(score, _)| *score >= 0.5)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map_or_else(String::new, |(_, c)| format!(" (did you mean `{c}`?)"))
}
