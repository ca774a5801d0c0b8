//! Names of the files in a benchmark folder.

use crate::corpus::Split;

/// The manifest, which lists every other file.
pub const MANIFEST: &str = "manifest.json";

/// The pictures that rows name, each once.
pub const IMAGES_FILE: &str = "images/images.parquet";

/// The crops; present only if the corpus came with crop files.
pub const CROPS_FILE: &str = "images/crops.parquet";

/// The dataset card, which the Hugging Face hub displays.
pub const CARD_FILE: &str = "README.md";

/// The description of the folder in the Croissant vocabulary.
pub const CROISSANT_FILE: &str = "croissant.json";

/// Counts and known defects of what was built.
pub const STATS_FILE: &str = "stats.json";

/// The folder of the task files.
pub const TASKS_FOLDER: &str = "tasks";

/// Returns the file with the rows of a task and split; without extension it is a valid split name for Hugging Face.
pub fn task_file(task: usize, split: Split) -> String {
    format!("{TASKS_FOLDER}/task_{task:02}_{split}.parquet")
}

/// Pictures per record batch, which bounds the memory of writers and readers.
pub(crate) const PICTURES_AT_ONCE: usize = 128;
