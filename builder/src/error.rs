//! The one error type of this crate: each message names the place and, where there is one, the remedy.

use std::path::{Path, PathBuf};

/// Result of every fallible function here.
pub type Result<T> = std::result::Result<T, Error>;

/// What can go wrong between raw corpus files and a finished benchmark folder.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Reading or writing failed (fs-err puts the path into the message).
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// A corpus file does not hold what its format promises.
    #[error("{}:{line}: {reason}", file.display())]
    Corpus {
        /// The file.
        file: PathBuf,
        /// 1-based line.
        line: usize,
        /// What is wrong, and what was expected.
        reason: String,
    },
    /// A protocol file, or a protocol that does not fit the corpus.
    #[error("protocol: `{key}`: {reason}")]
    Protocol {
        /// The key at fault, e.g. `tasks[2]`.
        key: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A benchmark folder that is damaged, foreign or in the way.
    #[error("{}: {reason}", path.display())]
    Dataset {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// An image or a crop dictionary that cannot be used.
    #[error("{}: {reason}", path.display())]
    Image {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Arrow arrays or schemas.
    #[error("arrow: {0}")]
    Arrow(#[from] arrow::error::ArrowError),
    /// Parquet files.
    #[error("parquet: {0}")]
    Parquet(#[from] parquet::errors::ParquetError),
    /// JSON files.
    #[error("JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// A request that cannot be met as asked.
    #[error("{0}")]
    Usage(String),
}

impl Error {
    /// A corpus error at a line.
    pub fn corpus(file: &Path, line: usize, reason: impl Into<String>) -> Self {
        Self::Corpus { file: file.to_path_buf(), line, reason: reason.into() }
    }

    /// A protocol error at a key.
    pub fn protocol(key: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Protocol { key: key.into(), reason: reason.into() }
    }

    /// A benchmark-folder error at a path.
    pub fn dataset(path: &Path, reason: impl Into<String>) -> Self {
        Self::Dataset { path: path.to_path_buf(), reason: reason.into() }
    }

    /// An image error at a path.
    pub fn image(path: &Path, reason: impl Into<String>) -> Self {
        Self::Image { path: path.to_path_buf(), reason: reason.into() }
    }
}

/// ` (did you mean `x`?)` for the candidate nearest to a mistyped name, or nothing when none is near.
pub fn hint<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    candidates
        .into_iter()
        .map(|c| (strsim::normalized_damerau_levenshtein(&name.to_lowercase(), &c.to_lowercase()), c))
        .filter(|(score, _)| *score >= 0.5)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map_or_else(String::new, |(_, c)| format!(" (did you mean `{c}`?)"))
}
