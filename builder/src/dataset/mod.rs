//! A built benchmark: a folder of Parquet files, with manifest, card, Croissant description and statistics.

mod card;
mod croissant;
mod fingerprint;
mod manifest;
mod pictures;
mod read;
mod rows;
mod schema;
mod write;

pub(crate) use card::card;
pub(crate) use croissant::croissant;
pub(crate) use fingerprint::{PicturesPrint, combined, rows_fingerprint};
pub use manifest::{MANIFEST, Manifest, ManifestFile, ManifestTask, SCHEMA_VERSION};
pub(crate) use pictures::read_picture_keys;
pub use pictures::{CropKey, StoredPicture};
pub use read::Benchmark;
pub(crate) use read::read_rows;
pub use rows::{Mention, Row, RowLabels};
pub(crate) use write::{Picture, PictureOf, PictureWriter, write_rows};

/// Pictures per record batch: bounds the memory of whoever writes or reads them.
pub(crate) const PICTURES_AT_ONCE: usize = 128;

/// File of the rows of a task and split, relative to the benchmark folder; the stem is a valid HF split name.
pub fn task_file(task: usize, split: crate::corpus::Split) -> String {
    format!("tasks/task_{task:02}_{split}.parquet")
}

/// File of the pictures, relative to the benchmark folder.
pub const IMAGES_FILE: &str = "images/images.parquet";

/// File of the crops, relative to the benchmark folder; there only if the corpus came with crop files.
pub const CROPS_FILE: &str = "images/crops.parquet";
