//! The pictures and crops of a benchmark, read back a batch at a time.

use std::collections::BTreeSet;
use std::path::Path;

use arrow::array::{AsArray, BinaryArray, BooleanArray};

use super::read::{Benchmark, Columns, batches};
use super::{CROPS_FILE, IMAGES_FILE, task_file};
use crate::corpus::{Split, sha256_hex};
use crate::error::{Error, Result};
use crate::images::CropKind;

/// A picture of a benchmark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredPicture {
    /// File name, [`super::Row::image_id`].
    pub id: String,
    /// Bytes of the image file.
    pub bytes: Vec<u8>,
    /// Whether it only fills the place of a missing or broken one.
    pub stand_in: bool,
}

/// What a crop is and where it belongs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct CropKey {
    /// Split of its rows: names repeat between splits.
    pub split: Split,
    /// Where it comes from.
    pub kind: CropKind,
    /// The picture it was cut from.
    pub image_id: String,
    /// File name; that of a grounding crop is in [`super::Row::crops`].
    pub id: String,
}

impl Benchmark {
    /// Whether the folder holds crop files.
    pub fn has_crops(&self) -> bool {
        self.manifest().files.iter().any(|file| file.path == CROPS_FILE)
    }

    /// Hands over the pictures batch by batch, each picture once, from their file or from the rows; a text-only
    /// benchmark has none.
    ///
    /// # Errors
    /// A missing or damaged file; an error of `each`.
    pub fn pictures<E: From<Error>>(
        &self,
        mut each: impl FnMut(Vec<StoredPicture>) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        if !self.manifest().images {
            return Ok(());
        }
        if self.manifest().embed_images {
            return self.embedded(each);
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

    fn embedded<E: From<Error>>(
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

    /// Ids of missing and broken images as the statistics list them: embedded pictures carry no mark.
    fn bad_images(&self) -> Result<BTreeSet<String>> {
        let stats: serde_json::Value = serde_json::from_slice(&fs_err::read(self.dir().join("stats.json"))?)?;
        let bad = stats["images"]["bad"].as_object();
        Ok(bad.into_iter().flat_map(|bad| bad.keys().cloned()).collect())
    }

    /// What the crops are, in the order of rows and dictionaries, without reading their files.
    ///
    /// # Errors
    /// A missing or damaged file.
    pub fn crop_keys(&self) -> Result<Vec<CropKey>> {
        let (mut keys, path) = (Vec::new(), self.dir().join(CROPS_FILE));
        if self.has_crops() {
            for batch in batches(&path, |column| column != "image")? {
                keys.extend(Columns { path: &path, batch: &batch?, labels: 0 }.crop_keys()?);
            }
        }
        Ok(keys)
    }

    /// Hands over the crops batch by batch in the order of rows and dictionaries; none without a file of them.
    ///
    /// # Errors
    /// A missing or damaged file; an error of `each`.
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
            let (keys, bytes) = (columns.crop_keys()?.into_iter().enumerate(), columns.files()?);
            each(keys.map(|(i, key)| (key, bytes.value(i).to_vec())).collect())?;
        }
        Ok(())
    }
}

impl Columns<'_> {
    fn bools(&self, name: &str) -> Result<&BooleanArray> {
        self.column(name)?.as_boolean_opt().ok_or_else(|| self.wrong(name))
    }

    /// The file bytes of the column `image`.
    fn files(&self) -> Result<&BinaryArray> {
        let bytes = self.structs("image")?.column_by_name("bytes").and_then(|column| column.as_binary_opt::<i32>());
        bytes.ok_or_else(|| self.wrong("image"))
    }

    fn crop_keys(&self) -> Result<Vec<CropKey>> {
        let (splits, kinds) = (self.texts("split")?, self.texts("kind")?);
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

/// `(texts, SHA-256 of the bytes, width, height)` of a picture.
type PictureKey = (Vec<String>, String, i32, i32);

/// What identifies the pictures of an images or crops file; the texts are those of its columns `id`, `split`, `kind`,
/// `image_id`, as far as it has them.
pub fn read_picture_keys(path: &Path) -> Result<Vec<PictureKey>> {
    let mut keys = Vec::new();
    for batch in batches(path, |_| true)? {
        let batch = batch?;
        let columns = Columns { path, batch: &batch, labels: 0 };
        let bytes = columns.files()?;
        let (width, height) = (columns.ints("width")?, columns.ints("height")?);
        let names = ["id", "split", "kind", "image_id"].into_iter();
        let names = names.filter(|name| *name == "id" || batch.column_by_name(name).is_some());
        let texts = names.map(|name| columns.texts(name)).collect::<Result<Vec<_>>>()?;
        for i in 0..batch.num_rows() {
            let texts = texts.iter().map(|column| column[i].clone()).collect();
            keys.push((texts, sha256_hex(bytes.value(i)), width[i].unwrap_or(0), height[i].unwrap_or(0)));
        }
    }
    Ok(keys)
}
