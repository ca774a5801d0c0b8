//! Names of the files in a benchmark folder.

use crate::corpus::Split;

/// The manifest, which lists every other file.
pub const MANIFEST: &str = "manifest.json";

/// The pictures that rows name, each once; where they are too many for one file, its shards take its place ([`shard`]).
pub const IMAGES_FILE: &str = "images/images.parquet";

/// The crops; present only if the corpus came with crop files. It may be in shards as well.
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

/// The extension of Parquet files.
const PARQUET: &str = ".parquet";

/// Returns the name of one of the `count` files that together take the place of `file`, as the Hugging Face hub numbers
/// them: `images/images-00000-of-00003.parquet`. One alone has the name itself.
pub(crate) fn shard(file: &str, n: usize, count: usize) -> String {
    match file.strip_suffix(PARQUET) {
        Some(stem) if count > 1 => format!("{stem}-{n:05}-of-{count:05}{PARQUET}"),
        _ => file.to_owned(),
    }
}

/// Returns whether a path is that of `file` or of one of its shards.
pub(crate) fn is_part_of(file: &str, path: &str) -> bool {
    let stem = file.strip_suffix(PARQUET).unwrap_or(file);
    let numbers = path.strip_prefix(stem).and_then(|rest| rest.strip_suffix(PARQUET)?.strip_prefix('-'));
    let is_number = |text: &str| text.len() >= 5 && text.bytes().all(|byte| byte.is_ascii_digit());
    path == file
        || numbers.and_then(|text| text.split_once("-of-")).is_some_and(|(n, of)| is_number(n) && is_number(of))
}

/// Returns how many shards there are, from the name of one; `None` if the file is whole.
pub(crate) fn shards_of(path: &str) -> Option<usize> {
    path.strip_suffix(PARQUET)?.rsplit_once("-of-")?.1.parse().ok()
}

/// Returns the pattern that matches the shards of `file` and no other file of a benchmark folder.
pub(crate) fn shards_pattern(file: &str) -> String {
    format!("{}-*{PARQUET}", file.strip_suffix(PARQUET).unwrap_or(file))
}

/// Pictures per record batch, which bounds the memory of writers and readers.
pub(crate) const PICTURES_AT_ONCE: usize = 128;
/// Bytes of pictures after which a record batch ends, so that large ones do not take memory for many.
pub(crate) const BYTES_AT_ONCE: u64 = 64 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_named_as_the_hub_names_them_and_known_again() {
        assert_eq!(shard(IMAGES_FILE, 0, 1), IMAGES_FILE);
        assert_eq!(shard(IMAGES_FILE, 1, 12), "images/images-00001-of-00012.parquet");
        assert_eq!(shard(CROPS_FILE, 123_456, 200_000), "images/crops-123456-of-200000.parquet");
        for (n, count) in [(0, 1), (0, 2), (123_456, 200_000)] {
            assert!(is_part_of(IMAGES_FILE, &shard(IMAGES_FILE, n, count)));
            assert!(!is_part_of(CROPS_FILE, &shard(IMAGES_FILE, n, count)));
        }
        for other in ["images/images-00001.parquet", "images/images-00001-of-x.parquet", "images/images-.parquet", "a"]
        {
            assert!(!is_part_of(IMAGES_FILE, other), "{other}");
        }
    }
}
