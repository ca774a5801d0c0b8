//! A built benchmark: a folder of Parquet files with manifest, dataset card, Croissant description and statistics.

mod card;
mod croissant;
mod fingerprint;
mod folder;
mod intact;
mod layout;
mod manifest;
mod pictures;
mod rows;
mod schema;
mod write;
mod write_pictures;

pub(crate) use card::card;
pub(crate) use croissant::croissant;
pub(crate) use fingerprint::{Content, combined_fingerprint, pictures_content, rows_content};
pub use folder::BenchmarkFolder;
pub(crate) use intact::refuse_damage;
pub(crate) use layout::{
    BYTES_AT_ONCE, CARD_FILE, CROISSANT_FILE, PICTURES_AT_ONCE, STATS_FILE, TASKS_FOLDER, is_part_of,
};
pub use layout::{CROPS_FILE, IMAGES_FILE, MANIFEST, task_file};
pub(crate) use manifest::Closeness;
pub use manifest::{Manifest, ManifestFile, ManifestTask, SCHEMA_VERSION};
pub use pictures::{CropKey, StoredPicture};
pub use rows::{Row, RowLabels};
pub(crate) use schema::RowPictures;
pub(crate) use write::RowFile;
pub(crate) use write_pictures::{MAX_SHARD_BYTES, NewPicture, PictureWriter};
