//! Reads files of predictions: Parquet, JSON lines or CSV with the columns `stage` (optional if the stage is given with the
//! file), `id`, `prediction` and, optionally, `scores`. Labels are names or ids. Each format turns a row into
//! [`columns::Cells`], from which every format's rows are read alike.

mod cell;
mod columns;
mod csv;
pub(crate) mod jsonl;
mod list;
mod parquet;
mod rows;
mod text;

use std::io::ErrorKind;
use std::path::Path;

use mkgc_builder::labels::LabelSet;

use super::file::PredictionFile;
use super::problems::Problems;
use crate::error::Result;
pub use columns::Cells;
pub use rows::{Collector, FileRows, SubmittedRow};

/// Reads a file, whose format follows from its extension, and adds what is wrong with it to `problems`.
///
/// # Errors
/// The file is there but cannot be opened or read.
pub fn read(file: &PredictionFile, labels: &LabelSet, problems: &mut Problems) -> Result<FileRows> {
    let path = file.path.as_path();
    let mut rows = Collector::new(file, labels, problems);
    if let Some(reason) = no_file(path) {
        rows.unreadable(reason);
        return Ok(rows.finish());
    }
    match path.extension().unwrap_or_default().to_ascii_lowercase().to_str() {
        Some("parquet") => parquet::read(path, &mut rows)?,
        Some("jsonl") => text::read(path, &mut rows, jsonl::read)?,
        Some("csv") => text::read(path, &mut rows, csv::read)?,
        _ => rows.unreadable("is none of .parquet, .jsonl and .csv"),
    }
    Ok(rows.finish())
}

fn no_file(path: &Path) -> Option<&'static str> {
    match fs_err::metadata(path) {
        Ok(entry) if entry.is_dir() => Some("is a folder; give the files in it"),
        Err(error) if error.kind() == ErrorKind::NotFound => Some("no such file"),
        _ => None,
    }
}
