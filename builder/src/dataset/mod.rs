//! A built benchmark: a folder of Parquet files with manifest, dataset card, Croissant description and statistics.

mod card;
mod croissant;
mod fingerprint;
mod folder;
mod layout;
mod manifest;
mod pictures;
mod rows;
mod schema;
mod write;

pub(crate) use card::card;
pub(crate) use croissant::croissant;
pub(crate) use fingerprint::{Content, combined_fingerprint, pictures_content, rows_content};
pub use folder::BenchmarkFolder;
pub(crate) use folder::read_rows;
pub(crate) use layout::{CARD_FILE, CROISSANT_FILE, PICTURES_AT_ONCE, STATS_FILE, TASKS_FOLDER};
pub use layout::{CROPS_FILE, IMAGES_FILE, MANIFEST, task_file};
pub use manifest::{Manifest, ManifestFile, ManifestTask, SCHEMA_VERSION};
pub use pictures::{CropKey, StoredPicture};
pub use rows::{Row, RowLabels};
pub(crate) use schema::RowPictures;
pub(crate) use write::{NewPicture, PictureWriter, RowFile};
