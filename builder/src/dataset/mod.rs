//! A built benchmark: a folder of Parquet files, with manifest, card, Croissant description and statistics.

mod card;
mod croissant;
mod fingerprint;
mod manifest;
mod read;
mod rows;
mod schema;
mod write;

pub(crate) use card::card;
pub(crate) use croissant::croissant;
pub(crate) use fingerprint::{combined, images_fingerprint, rows_fingerprint};
pub use manifest::{MANIFEST, Manifest, ManifestFile, ManifestTask, SCHEMA_VERSION};
pub use read::Benchmark;
pub(crate) use read::{read_image_keys, read_rows};
pub use rows::{Mention, Row, RowLabels};
pub(crate) use write::{ImageWriter, Picture, PictureOf, write_rows};

/// File of the rows of a task and split, relative to the benchmark folder; the stem is a valid HF split name.
pub fn task_file(task: usize, split: crate::corpus::Split) -> String {
    format!("tasks/task_{task:02}_{split}.parquet")
}

/// File of the pictures, relative to the benchmark folder.
pub const IMAGES_FILE: &str = "images/images.parquet";
