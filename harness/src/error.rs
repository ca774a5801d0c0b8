//! The one error type of the harness: says what was wrong, where, and what to do.

use std::path::PathBuf;

use mkgc_models::error::without_backtrace;

/// Result with the harness's error.
pub type Result<T> = std::result::Result<T, Error>;

/// What can go wrong between a benchmark folder and a report.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Reading or writing a file (`fs_err` puts the path into the message).
    #[error("{}", mkgc_builder::error::plain_io(.0))]
    Io(std::io::Error),
    /// The benchmark folder is damaged or none.
    #[error(transparent)]
    Builder(#[from] mkgc_builder::error::Error),
    /// The encoder, its files or its tokenizer.
    #[error(transparent)]
    Models(mkgc_models::error::Error),
    /// A tensor operation failed, for another reason than a GPU out of memory.
    #[error(transparent)]
    Candle(candle_core::Error),
    /// The GPU's memory is full.
    #[error(
        "the GPU is out of memory: lower batch_size or max_length, use --dtype bf16 or a smaller encoder, or check with \
         `nvidia-smi` whether another program holds memory"
    )]
    GpuMemory,
    /// A Parquet file of a run.
    #[error(transparent)]
    Parquet(#[from] parquet::errors::ParquetError),
    /// An Arrow batch of a run.
    #[error(transparent)]
    Arrow(#[from] arrow::error::ArrowError),
    /// A table of a report.
    #[error(transparent)]
    Polars(#[from] polars::error::PolarsError),
    /// A plot of a report.
    #[error("a plot cannot be drawn: {0}")]
    Plot(#[from] plotters::drawing::DrawingAreaErrorKind<std::io::Error>),
    /// The HTML page of a report.
    #[error("the page cannot be written: {0}")]
    Page(#[from] minijinja::Error),
    /// A JSON file of a run.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// A configuration key is unknown, not read, or has a value that no run can have.
    #[error("configuration key `{key}`: {reason}")]
    Config {
        /// Key as written in the TOML file.
        key: String,
        /// What is wrong and what is accepted.
        reason: String,
    },
    /// A run folder that cannot be used.
    #[error("run {}: {reason}", path.display())]
    Run {
        /// Path of the run folder.
        path: PathBuf,
        /// What is wrong and what to do.
        reason: String,
    },
    /// A loss that is no number, or infinite.
    #[error("the training loss became {0}: lower lr_encoder or lr_head, or check the encoder's weights")]
    Diverged(f64),
    /// A signal or a program asked the run to stop. It can go on where it was.
    #[error("interrupted; the same command goes on with the run")]
    Interrupted,
    /// Anything else the user asked for that cannot be done.
    #[error("{0}")]
    Usage(String),
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        // The cause is part of the message, so it is not a source that a chain would print a second time.
        Self::Io(error)
    }
}

impl From<candle_core::Error> for Error {
    fn from(error: candle_core::Error) -> Self {
        // candle keeps the driver's error as text alone.
        let full = error.to_string().contains("CUDA_ERROR_OUT_OF_MEMORY");
        if full { Self::GpuMemory } else { Self::Candle(without_backtrace(error)) }
    }
}

impl From<mkgc_models::error::Error> for Error {
    fn from(error: mkgc_models::error::Error) -> Self {
        match error {
            mkgc_models::error::Error::Tensor(error) => error.into(),
            error => Self::Models(error),
        }
    }
}
