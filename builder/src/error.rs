//! The error type of this crate. Each message names the place and, where there is one, the remedy.

use std::io;
use std::path::{Path, PathBuf};

use crate::damage::{Damage, Damages};

/// Result of a fallible function of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// What can go wrong between raw corpus files and a finished benchmark folder.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file cannot be read or written; `fs_err` puts the path into the message.
    #[error("{}", plain_io(.0))]
    Io(io::Error),
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
    /// Corpus files do not follow their format in several places.
    #[error("{0}")]
    Damages(Box<Damages>),
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
    /// Columns do not make a record batch of a Parquet file.
    #[error("cannot put the columns of a Parquet file together: {0}")]
    Arrow(arrow::error::ArrowError),
    /// A Parquet file cannot be written.
    #[error("cannot write a Parquet file: {0}")]
    Parquet(parquet::errors::ParquetError),
    /// A value cannot be written as JSON.
    #[error("cannot write a value as JSON: {0}")]
    Json(serde_json::Error),
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

    /// Adds the path of the protocol file to an error about one of its keys.
    pub(crate) fn in_protocol(self, path: &str) -> Self {
        match self {
            Self::Protocol { key, reason } => Self::Protocol { key, reason: format!("{reason} (in {path})") },
            other => other,
        }
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

// The causes are part of the messages above, so these errors have no source that a chain would print a second time.
impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<arrow::error::ArrowError> for Error {
    fn from(error: arrow::error::ArrowError) -> Self {
        Self::Arrow(error)
    }
}

impl From<parquet::errors::ParquetError> for Error {
    /// Takes a failure to read or write a file out of its wrapper, so that the message is the same everywhere.
    fn from(error: parquet::errors::ParquetError) -> Self {
        use parquet::errors::ParquetError::External;
        match error {
            External(source) => match source.downcast::<io::Error>() {
                Ok(source) => Self::Io(*source),
                Err(source) => Self::Parquet(External(source)),
            },
            error => Self::Parquet(error),
        }
    }
}

impl From<serde_json::Error> for Error {
    fn from(error: serde_json::Error) -> Self {
        Self::Json(error)
    }
}

impl From<Damages> for Error {
    fn from(damages: Damages) -> Self {
        match damages.shown() {
            [Damage { file, line, reason }] => Self::corpus(file, *line, format!("{reason}\n{}", damages.remedy())),
            _ => Self::Damages(Box::new(damages)),
        }
    }
}

/// Says in plain words what the system says of a file: `cannot open file `x`: no such file or folder`.
pub fn plain_io(error: &io::Error) -> String {
    let text = error.to_string();
    // Errors of temporary files name the path after the number.
    let (before, after) = text.split_once(" (os error ").unwrap_or((text.as_str(), ""));
    let text = format!("{before}{}", after.split_once(')').map_or("", |(_, path)| path));
    let text = text.strip_prefix("failed to ").map_or_else(|| text.clone(), |rest| format!("cannot {rest}"));
    let text = text.replace("query resolved metadata", "find").replace("query raw metadata", "find");
    match error.kind() {
        io::ErrorKind::NotFound => text.replace("No such file or directory", "no such file or folder"),
        io::ErrorKind::PermissionDenied => {
            text.replace("Permission denied", "you may not do this; check its permissions")
        }
        io::ErrorKind::StorageFull => text.replace("No space left on device", "no space left on the disk"),
        _ => text,
    }
}

/// Longest name, in bytes, that is compared with others: the comparison takes memory and time with the product of lengths.
const LONGEST: usize = 200;

/// Returns ` (did you mean `x`?)` for the candidate nearest to a mistyped name, or nothing if none is near.
pub fn hint<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    candidates
        .into_iter()
        .filter(|c| name.len().max(c.len()) <= LONGEST)
        .map(|c| (strsim::normalized_damerau_levenshtein(&name.to_lowercase(), &c.to_lowercase()), c))
        .filter(|(score, _)| *score >= 0.5)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map_or_else(String::new, |(_, c)| format!(" (did you mean `{c}`?)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_without_end_are_not_compared() {
        assert_eq!(hint("neme", ["name"]), " (did you mean `name`?)");
        let long = "n".repeat(40_000);
        // Their table of distances would take 12 GB.
        assert_eq!(hint(&long, [format!("{long}e").as_str(), "name"]), "");
    }

    #[test]
    fn a_missing_file_is_named_in_plain_words_and_once() {
        let error = Error::from(fs_err::File::open("/nowhere/x.json").unwrap_err());
        assert_eq!(error.to_string(), "cannot open file `/nowhere/x.json`: no such file or folder");
        assert!(std::error::Error::source(&error).is_none());
        let error = Error::from(tempfile::NamedTempFile::new_in("/nowhere").unwrap_err()).to_string();
        assert!(error.starts_with("no such file or folder at path \"/nowhere/"), "{error}");
    }
}
