//! Reads the pictures and crops of a benchmark, a batch at a time, from one file or from its shards.

use std::collections::BTreeSet;
use std::path::Path;

use arrow::array::{AsArray, BinaryArray, BooleanArray};

use super::folder::{BatchColumns, BenchmarkFolder, batches};
use super::layout::{CROPS_FILE, IMAGES_FILE, STATS_FILE, task_file};
use crate::corpus::{CropKind, Split};
use crate::error::{Error, Result};
use crate::files::sha256_hex;
use crate::images::picture_key;
use crate::plain;

/// A picture of a benchmark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredPicture {
    /// File name, as in [`super::Row::image_id`].
    pub id: String,
    /// The split whose rows show it, if splits have pictures of their own.
    pub split: Option<Split>,
    /// Bytes of the image file.
    pub bytes: Vec<u8>,
    /// Whether it stands in for a missing or broken picture.
    pub stand_in: bool,
}

impl StoredPicture {
    /// Returns the key of the picture in lists of the benchmark's pictures.
    pub fn key(&self) -> String {
        picture_key(self.split, &self.id)
    }
}

/// Identifies a crop; no two crops of a benchmark have the same key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct CropKey {
    /// Split of its rows, since names repeat between splits.
    pub split: Split,
    /// Whether grounding or a detector found it.
    pub kind: CropKind,
    /// The picture that it was cut from.
    pub image_id: String,
    /// File name; [`super::Row::crops`] lists those of grounding crops.
    pub id: String,
}

impl BenchmarkFolder {
    /// Returns whether the folder contains crops.
    pub fn has_crops(&self) -> bool {
        self.manifest().parts(CROPS_FILE).next().is_some()
    }

    /// Passes the record batches of the images or crops file, or of its shards, to `each`, with the columns for which
    /// `kept` is true. A file whose pictures are read is compared with its SHA-256 afterwards.
    fn each_batch<E: From<Error>>(
        &self,
        file: &'static str,
        kept: impl Fn(&str) -> bool,
        mut each: impl FnMut(&BatchColumns<'_>) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        for part in self.manifest().parts(file) {
            let path = self.file(&part.path)?;
            for batch in batches(&path, &kept)? {
                let batch = batch?;
                each(&BatchColumns { path: &path, batch: &batch, labels: 0 })?;
            }
            if kept("image") {
                self.check_sum(&part.path)?;
            }
        }
        Ok(())
    }

    /// Passes the pictures to `each` in batches, each picture once. A text-only benchmark has none. Files are compared with
    /// their SHA-256 after they are read, so keep nothing if this fails.
    ///
    /// # Errors
    /// A file is missing or damaged, or `each` fails.
    pub fn pictures<E: From<Error>>(
        &self,
        mut each: impl FnMut(Vec<StoredPicture>) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        if !self.manifest().images {
            return Ok(());
        }
        if self.manifest().embed_images {
            return self.embedded_pictures(each);
        }
        self.each_batch(IMAGES_FILE, |_| true, |columns| each(columns.pictures()?))
    }

    /// Passes on the pictures that are embedded in the rows.
    fn embedded_pictures<E: From<Error>>(
        &self,
        mut each: impl FnMut(Vec<StoredPicture>) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        let bad = self.bad_images()?;
        let by_split = self.manifest().images_by_split;
        let mut known = BTreeSet::new();
        let tasks = 0..self.manifest().tasks.len();
        for (task, split) in tasks.flat_map(|task| Split::ALL.map(|split| (task, split))) {
            let name = task_file(task, split);
            let path = self.file(&name)?;
            for batch in batches(&path, |column| ["image_id", "image"].contains(&column))? {
                let batch = batch?;
                let columns = BatchColumns { path: &path, batch: &batch, labels: 0 };
                let bytes = columns.files()?;
                let mut pictures = Vec::new();
                for (i, id) in columns.optional_texts("image_id")?.into_iter().enumerate() {
                    let Some(id) = id else { continue };
                    let split = by_split.then_some(split);
                    let key = picture_key(split, &id);
                    if !known.contains(&key) {
                        let stand_in = bad.contains(&key);
                        pictures.push(StoredPicture { id, split, bytes: bytes.value(i).to_vec(), stand_in });
                        known.insert(key);
                    }
                }
                each(pictures)?;
            }
            self.check_sum(&name)?;
        }
        Ok(())
    }

    /// Reads the keys of missing and broken pictures from the statistics, since embedded pictures are not marked.
    fn bad_images(&self) -> Result<BTreeSet<String>> {
        self.check_sum(STATS_FILE)?;
        let stats: serde_json::Value = plain::json_file(&self.dir().join(STATS_FILE))?;
        let bad = stats["images"]["bad"].as_object();
        Ok(bad.into_iter().flat_map(|bad| bad.keys().cloned()).collect())
    }

    /// Lists the crops in the order of rows and dictionaries, without reading their bytes.
    ///
    /// # Errors
    /// The file is damaged.
    pub fn crop_keys(&self) -> Result<Vec<CropKey>> {
        let mut keys = Vec::new();
        let collect = |columns: &BatchColumns<'_>| -> Result<()> {
            keys.extend(columns.crop_keys()?);
            Ok(())
        };
        self.each_batch(CROPS_FILE, |column| column != "image", collect)?;
        Ok(keys)
    }

    /// Passes the crops with their bytes to `each` in batches, in the order of rows and dictionaries. The file is compared
    /// with its SHA-256 after it is read, so keep nothing if this fails.
    ///
    /// # Errors
    /// The file is damaged, or `each` fails.
    pub fn crops<E: From<Error>>(
        &self,
        mut each: impl FnMut(Vec<(CropKey, Vec<u8>)>) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        self.each_batch(
            CROPS_FILE,
            |_| true,
            |columns| {
                let bytes = columns.files()?;
                let keys = columns.crop_keys()?.into_iter().enumerate();
                each(keys.map(|(i, key)| (key, bytes.value(i).to_vec())).collect())
            },
        )
    }
}

impl BatchColumns<'_> {
    fn bools(&self, name: &str) -> Result<&BooleanArray> {
        self.column(name)?.as_boolean_opt().ok_or_else(|| self.wrong(name))
    }

    /// Returns the bytes in the column `image`.
    fn files(&self) -> Result<&BinaryArray> {
        let bytes = self.structs("image")?.column_by_name("bytes").and_then(|column| column.as_binary_opt::<i32>());
        bytes.ok_or_else(|| self.wrong("image"))
    }

    /// Returns the splits in the column `split`.
    fn splits(&self) -> Result<Vec<Split>> {
        let split = |name: &String| Split::ALL.into_iter().find(|split| split.name() == name);
        let splits: Option<Vec<Split>> = self.texts("split")?.iter().map(split).collect();
        splits.ok_or_else(|| self.wrong("split"))
    }

    /// Returns the pictures of an images file, which may lack the column `split`.
    fn pictures(&self) -> Result<Vec<StoredPicture>> {
        let stand_ins = self.bools("placeholder")?;
        let bytes = self.files()?;
        let by_split = self.batch.column_by_name("split").is_some();
        let splits = if by_split { self.splits()? } else { Vec::new() };
        let picture = |(i, id)| StoredPicture {
            id,
            split: splits.get(i).copied(),
            bytes: bytes.value(i).to_vec(),
            stand_in: stand_ins.value(i),
        };
        Ok(self.texts("id")?.into_iter().enumerate().map(picture).collect())
    }

    fn crop_keys(&self) -> Result<Vec<CropKey>> {
        let splits = self.splits()?;
        let kinds = self.texts("kind")?;
        let mut images = self.texts("image_id")?.into_iter();
        let mut keys = Vec::with_capacity(splits.len());
        for (i, id) in self.texts("id")?.into_iter().enumerate() {
            let kind = CropKind::ALL.into_iter().find(|kind| kind.name() == kinds[i]);
            let kind = kind.ok_or_else(|| self.wrong("kind"))?;
            let image_id = images.next().unwrap_or_default();
            keys.push(CropKey { split: splits[i], kind, image_id, id });
        }
        Ok(keys)
    }
}

/// What identifies a picture of an images or crops file: texts, SHA-256 of the bytes, size in pixels.
pub struct PictureKey {
    /// Values of the columns `id`, `split`, `kind` and `image_id`, as far as the file has them.
    pub texts: Vec<String>,
    pub sha256: String,
    pub width: i32,
    pub height: i32,
}

/// Passes on what identifies each picture of an images or crops file, one at a time.
///
/// # Errors
/// The file is missing or damaged.
pub fn each_picture_key(path: &Path, mut each: impl FnMut(&PictureKey)) -> Result<()> {
    for batch in batches(path, |_| true)? {
        let batch = batch?;
        let columns = BatchColumns { path, batch: &batch, labels: 0 };
        let bytes = columns.files()?;
        let widths = columns.ints("width")?;
        let heights = columns.ints("height")?;
        let names = ["id", "split", "kind", "image_id"].into_iter();
        let names = names.filter(|name| *name == "id" || batch.column_by_name(name).is_some());
        let texts = names.map(|name| columns.texts(name)).collect::<Result<Vec<_>>>()?;
        for i in 0..batch.num_rows() {
            each(&PictureKey {
                texts: texts.iter().map(|column| column[i].clone()).collect(),
                sha256: sha256_hex(bytes.value(i)),
                width: widths[i].unwrap_or(0),
                height: heights[i].unwrap_or(0),
            });
        }
    }
    Ok(())
}
