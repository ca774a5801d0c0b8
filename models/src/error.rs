//! The one error type of this crate.

use std::path::{Path, PathBuf};

/// Result of every fallible function here.
pub type Result<T> = std::result::Result<T, Error>;

/// What can go wrong with encoders, tokenizers and tensors.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Reading failed (fs-err puts the path into the message).
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// Tensor shapes, types or devices.
    #[error("tensor: {0}")]
    Tensor(#[from] candle_core::Error),
    /// A file of an encoder folder that cannot be used.
    #[error("{}: {reason}", path.display())]
    Encoder {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and what was expected.
        reason: String,
    },
    /// A model that is neither in a folder nor to be had from the Hugging Face hub.
    #[error("{what}: {reason}")]
    Hub {
        /// Model and file.
        what: String,
        /// What failed, and the remedy.
        reason: String,
    },
    /// A sentence that does not fit, or a tokenizer that fails.
    #[error("tokenizer: {0}")]
    Tokenizer(String),
    /// A picture that cannot be made into pixels.
    #[error("picture: {0}")]
    Picture(String),
    /// Optimiser or network state that belongs to something else.
    #[error("state: {0}")]
    State(String),
}

impl Error {
    /// An error of an encoder file.
    pub fn encoder(path: &Path, reason: impl Into<String>) -> Self {
        Self::Encoder { path: path.to_path_buf(), reason: reason.into() }
    }
}
