//! Reads the pictures and crops of a benchmark, a batch at a time.

use std::collections::BTreeSet;
use std::path::Path;

use arrow::array::{AsArray, BinaryArray, BooleanArray};

use super::folder::{BenchmarkFolder, Columns, batches};
use super::layout::{CROPS_FILE, IMAGES_FILE, STATS_FILE, task_file};
use crate::corpus::{CropKind, Split};
use crate::error::{Error, Result};
use crate::files::sha256_hex;

/// A picture of a benchmark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredPicture {
    /// File name, as in [`super::Row::image_id`].
    pub id: String,
    /// Bytes of the image file.
    pub bytes: Vec<u8>,
    /// Whether it stands in for a missing or broken picture.
    pub stand_in: bool,
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
        self.manifest().files.iter().any(|file| file.path == CROPS_FILE)
    }

    /// Passes the pictures to `each` in batches, each picture once. A text-only benchmark has none.
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
        let path = self.dir().join(IMAGES_FILE);
        for batch in batches(&path, |_| true)? {
            let batch = batch.map_err(Error::from)?;
            let columns = Columns { path: &path, batch: &batch, labels: 0 };
            let stand_ins = columns.bools("placeholder")?;
            let pictures = columns.texts("id")?.into_iter().enumerate();
            let bytes = columns.files()?;
            let picture = |(i, id)| StoredPicture { id, bytes: bytes.value(i).to_vec(), stand_in: stand_ins.value(i) };
            each(pictures.map(picture).collect())?;
        }
        Ok(())
    }

    /// Passes on the pictures that are embedded in the rows.
    fn embedded_pictures<E: From<Error>>(
        &self,
        mut each: impl FnMut(Vec<StoredPicture>) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        let bad = self.bad_images()?;
        let mut known = BTreeSet::new();
        let tasks = 0..self.manifest().tasks.len();
        for (task, split) in tasks.flat_map(|task| Split::ALL.map(|split| (task, split))) {
            let path = self.dir().join(task_file(task, split));
            for batch in batches(&path, |column| ["image_id", "image"].contains(&column))? {
                let batch = batch.map_err(Error::from)?;
                let columns = Columns { path: &path, batch: &batch, labels: 0 };
                let bytes = columns.files()?;
                let mut pictures = Vec::new();
                for (i, id) in columns.texts("image_id")?.into_iter().enumerate() {
                    if known.insert(id.clone()) {
                        let stand_in = bad.contains(&id);
                        pictures.push(StoredPicture { id, bytes: bytes.value(i).to_vec(), stand_in });
                    }
                }
                each(pictures)?;
            }
        }
        Ok(())
    }

    /// Reads the ids of missing and broken pictures from the statistics, since embedded pictures are not marked.
    fn bad_images(&self) -> Result<BTreeSet<String>> {
        let stats: serde_json::Value = serde_json::from_slice(&fs_err::read(self.dir().join(STATS_FILE))?)?;
        let bad = stats["images"]["bad"].as_object();
        Ok(bad.into_iter().flat_map(|bad| bad.keys().cloned()).collect())
    }

    /// Lists the crops in the order of rows and dictionaries, without reading their bytes.
    ///
    /// # Errors
    /// The file is damaged.
    pub fn crop_keys(&self) -> Result<Vec<CropKey>> {
        let mut keys = Vec::new();
        let path = self.dir().join(CROPS_FILE);
        if self.has_crops() {
            for batch in batches(&path, |column| column != "image")? {
                keys.extend(Columns { path: &path, batch: &batch?, labels: 0 }.crop_keys()?);
            }
        }
        Ok(keys)
    }

    /// Passes the crops with their bytes to `each` in batches, in the order of rows and dictionaries.
    ///
    /// # Errors
    /// The file is damaged, or `each` fails.
    pub fn crops<E: From<Error>>(
        &self,
        mut each: impl FnMut(Vec<(CropKey, Vec<u8>)>) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        if !self.has_crops() {
            return Ok(());
        }
        let path = self.dir().join(CROPS_FILE);
        for batch in batches(&path, |_| true)? {
            let batch = batch.map_err(Error::from)?;
            let columns = Columns { path: &path, batch: &batch, labels: 0 };
            let bytes = columns.files()?;
            let keys = columns.crop_keys()?.into_iter().enumerate();
            each(keys.map(|(i, key)| (key, bytes.value(i).to_vec())).collect())?;
        }
        Ok(())
    }
}

impl Columns<'_> {
    fn bools(&self, name: &str) -> Result<&BooleanArray> {
        self.column(name)?.as_boolean_opt().ok_or_else(|| self.wrong(name))
    }

    /// Returns the bytes in the column `image`.
    fn files(&self) -> Result<&BinaryArray> {
        let bytes = self.structs("image")?.column_by_name("bytes").and_then(|column| column.as_binary_opt::<i32>());
        bytes.ok_or_else(|| self.wrong("image"))
    }

    fn crop_keys(&self) -> Result<Vec<CropKey>> {
        let splits = self.texts("split")?;
        let kinds = self.texts("kind")?;
        let mut images = self.texts("image_id")?.into_iter();
        let mut keys = Vec::with_capacity(splits.len());
        for (i, id) in self.texts("id")?.into_iter().enumerate() {
            let split = Split::ALL.into_iter().find(|split| split.name() == splits[i]);
            let kind = CropKind::ALL.into_iter().find(|kind| kind.name() == kinds[i]);
            let split = split.ok_or_else(|| self.wrong("split"))?;
            let kind = kind.ok_or_else(|| self.wrong("kind"))?;
            let image_id = images.next().unwrap_or_default();
            keys.push(CropKey { split, kind, image_id, id });
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

/// Reads what identifies each picture of an images or crops file.
///
/// # Errors
/// The file is missing or damaged.
pub fn read_picture_keys(path: &Path) -> Result<Vec<PictureKey>> {
    let mut keys = Vec::new();
    for batch in batches(path, |_| true)? {
        let batch = batch?;
        let columns = Columns { path, batch: &batch, labels: 0 };
        let bytes = columns.files()?;
        let widths = columns.ints("width")?;
        let heights = columns.ints("height")?;
        let names = ["id", "split", "kind", "image_id"].into_iter();
        let names = names.filter(|name| *name == "id" || batch.column_by_name(name).is_some());
        let texts = names.map(|name| columns.texts(name)).collect::<Result<Vec<_>>>()?;
        keys.extend((0..batch.num_rows()).map(|i| PictureKey {
            texts: texts.iter().map(|column| column[i].clone()).collect(),
            sha256: sha256_hex(bytes.value(i)),
            width: widths[i].unwrap_or(0),
            height: heights[i].unwrap_or(0),
        }));
    }
    Ok(keys)
}
