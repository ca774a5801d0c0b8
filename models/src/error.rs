//! The one error type of this crate.

use std::path::{Path, PathBuf};

/// The result of fallible functions in this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Failures with encoders, tokenizers and tensors.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Reading a file failed; the message of fs-err has its path.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// A tensor operation failed, because of shapes, types or the device.
    #[error("tensor: {0}")]
    Tensor(#[from] candle_core::Error),
    /// A file of an encoder folder cannot be used.
    #[error("{}: {reason}", path.display())]
    Encoder {
        /// Path of the file that cannot be used.
        path: PathBuf,
        /// What is wrong with the file, and what was expected.
        reason: String,
    },
    /// A model is neither in a folder nor available from the Hugging Face hub.
    #[error("{what}: {reason}")]
    Hub {
        /// Names of the model and the file.
        what: String,
        /// What failed, and the remedy.
        reason: String,
    },
    /// A sentence is too long, or the tokenizer fails.
    #[error("tokenizer: {0}")]
    Tokenizer(String),
    /// A picture cannot be resized.
    #[error("picture: {0}")]
    Picture(String),
    /// State of an optimiser or a network belongs to another one.
    #[error("state: {0}")]
    State(String),
}

impl Error {
    /// Creates the error of an encoder file.
    pub fn encoder(path: &Path, reason: impl Into<String>) -> Self {
        Self::Encoder { path: path.to_path_buf(), reason: reason.into() }
    }
}
