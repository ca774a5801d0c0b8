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
    Tensor(candle_core::Error),
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

impl From<candle_core::Error> for Error {
    fn from(error: candle_core::Error) -> Self {
        Self::Tensor(without_backtrace(error))
    }
}

/// Takes out of an error the stack traces that candle puts into its message where `RUST_BACKTRACE` is set. They say nothing
/// to whoever reads the message, and would end up in files.
pub fn without_backtrace(error: candle_core::Error) -> candle_core::Error {
    use candle_core::Error::{Context, WithBacktrace, WithPath};
    let inside = |inner: Box<candle_core::Error>| Box::new(without_backtrace(*inner));
    match error {
        WithBacktrace { inner, .. } => without_backtrace(*inner),
        Context { inner, context } => Context { inner: inside(inner), context },
        WithPath { inner, path } => WithPath { inner: inside(inner), path },
        error => error,
    }
}

impl Error {
    /// Creates the error of an encoder file.
    pub fn encoder(path: &Path, reason: impl Into<String>) -> Self {
        Self::Encoder { path: path.to_path_buf(), reason: reason.into() }
    }
}

#[cfg(test)]
mod tests {
    use std::backtrace::Backtrace;

    use super::*;

    #[test]
    fn messages_hold_no_stack_trace() {
        let traced = |inner: candle_core::Error| candle_core::Error::WithBacktrace {
            inner: Box::new(inner),
            backtrace: Box::new(Backtrace::force_capture()),
        };
        let error = traced(candle_core::Error::Msg("no tensor `a`".to_owned())).with_path("model.safetensors");
        let error = traced(error.context("opening"));
        assert!(error.to_string().contains("messages_hold_no_stack_trace"), "the test has a stack trace: {error}");
        let text = Error::from(error).to_string();
        assert_eq!(text, "tensor: opening\npath: \"model.safetensors\" no tensor `a`");
    }
}
