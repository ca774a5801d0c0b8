//! Writes the images or the crops file of a benchmark in batches, and in several files where one would be too large for
//! the Hugging Face hub. The same input gives the same bytes, and memory use does not depend on the number of pictures.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int32Array, RecordBatch, StringArray};
use arrow::datatypes::Schema;
use parquet::arrow::ArrowWriter;

use super::fingerprint::PictureHasher;
use super::layout::{CROPS_FILE, IMAGES_FILE, shard};
use super::manifest::ManifestFile;
use super::pictures::CropKey;
use super::schema::{ColumnSpec, crop_columns, image_columns, schema};
use super::write::{close, create, images};
use crate::corpus::Split;
use crate::error::Result;
use crate::files::HashingFile;
use crate::images::Picture;

/// Most bytes of an images or crops file: the size of a shard that `datasets` chooses (`max_shard_size`).
pub const MAX_SHARD_BYTES: u64 = 500_000_000;
/// What a file takes besides its pictures, at most: schema, footer, and row groups that end early.
const BYTES_PER_FILE: u64 = 8 << 10;
/// What a picture takes besides its bytes and its texts, at most: its size, and its share of a row group.
const BYTES_PER_PICTURE: u64 = 128;

/// A picture to write into the images file.
pub struct NewPicture<'a> {
    /// File name, as in [`super::Row::image_id`].
    pub id: &'a str,
    /// The split whose rows show it, if splits have pictures of their own.
    pub split: Option<Split>,
    /// The file and its size.
    pub picture: Picture,
    /// Whether it stands in for a missing or broken picture.
    pub stand_in: bool,
}

/// A row of an images or crops file.
struct PictureRow<'a> {
    /// Values of the columns before `image`, which all hold text; the first is the id.
    texts: Vec<&'a str>,
    picture: Picture,
    /// Value of the column `placeholder`, which crops do not have.
    stand_in: Option<bool>,
}

impl<'a> From<NewPicture<'a>> for PictureRow<'a> {
    fn from(NewPicture { id, split, picture, stand_in }: NewPicture<'a>) -> Self {
        let texts = [id].into_iter().chain(split.map(Split::name)).collect();
        Self { texts, picture, stand_in: Some(stand_in) }
    }
}

impl<'a> From<(&'a CropKey, Picture)> for PictureRow<'a> {
    fn from((key, picture): (&'a CropKey, Picture)) -> Self {
        let texts = vec![key.id.as_str(), key.split.name(), key.kind.name(), key.image_id.as_str()];
        Self { texts, picture, stand_in: None }
    }
}

impl PictureRow<'_> {
    /// Returns how much a file grows by this row, at most.
    fn size(&self) -> u64 {
        let texts: usize = self.texts.iter().map(|text| text.len()).sum();
        (self.picture.bytes.len() + texts + self.texts[0].len()) as u64 + BYTES_PER_PICTURE
    }
}

/// Writes the images or the crops file, or its shards.
pub struct PictureWriter {
    folder: PathBuf,
    /// Path of the file relative to the folder.
    file: &'static str,
    schema: Arc<Schema>,
    /// Most bytes of a shard, unless one picture is larger.
    limit: u64,
    /// Manifest entries of the finished shards.
    closed: Vec<ManifestFile>,
    shard: Shard,
}

/// A file that is being written.
struct Shard {
    path: String,
    writer: ArrowWriter<HashingFile>,
    hasher: PictureHasher,
    /// Size of the finished file, at most, if it has any picture.
    bytes: u64,
}

impl PictureWriter {
    /// Creates the images file of a benchmark folder, with shards of at most `limit` bytes; `by_split` says whether splits
    /// have pictures of their own.
    ///
    /// # Errors
    /// The file cannot be created.
    pub fn images(folder: &Path, by_split: bool, limit: u64) -> Result<Self> {
        Self::create(folder, IMAGES_FILE, &image_columns(by_split), limit)
    }

    /// Creates the crops file of a benchmark folder, with shards of at most `limit` bytes.
    ///
    /// # Errors
    /// The file cannot be created.
    pub fn crops(folder: &Path, limit: u64) -> Result<Self> {
        Self::create(folder, CROPS_FILE, &crop_columns(), limit)
    }

    fn create(folder: &Path, file: &'static str, columns: &[ColumnSpec], limit: u64) -> Result<Self> {
        fs_err::create_dir_all(folder.join("images"))?;
        let schema = Arc::new(schema(columns, &[]));
        let shard = Shard::create(folder, file, 0, &schema)?;
        Ok(Self { folder: folder.to_path_buf(), file, schema, limit, closed: Vec::new(), shard })
    }

    /// Appends pictures and flushes them to the file.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&mut self, pictures: Vec<NewPicture<'_>>) -> Result<()> {
        self.append(pictures.into_iter().map(PictureRow::from).collect())
    }

    /// Appends crops and flushes them to the file.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write_crops(&mut self, crops: Vec<(CropKey, Picture)>) -> Result<()> {
        let (keys, pictures): (Vec<CropKey>, Vec<Picture>) = crops.into_iter().unzip();
        let rows = keys.iter().zip(pictures).map(PictureRow::from).collect();
        self.append(rows)
    }

    /// Appends rows, and starts another shard where the file would grow beyond the limit.
    fn append(&mut self, rows: Vec<PictureRow<'_>>) -> Result<()> {
        let mut batch = Vec::with_capacity(rows.len());
        for row in rows {
            let size = row.size();
            if self.shard.bytes > BYTES_PER_FILE && self.shard.bytes + size > self.limit {
                self.shard.write(&self.schema, std::mem::take(&mut batch))?;
                let next = Shard::create(&self.folder, self.file, self.closed.len() + 1, &self.schema)?;
                self.closed.push(std::mem::replace(&mut self.shard, next).close()?);
            }
            self.shard.bytes += size;
            batch.push(row);
        }
        self.shard.write(&self.schema, batch)
    }

    /// Closes the file, gives shards their names, and returns the manifest entries.
    ///
    /// # Errors
    /// A footer cannot be written, or a shard cannot be renamed.
    pub fn close(mut self) -> Result<Vec<ManifestFile>> {
        self.closed.push(self.shard.close()?);
        let count = self.closed.len();
        for (n, entry) in self.closed.iter_mut().enumerate() {
            let path = shard(self.file, n, count);
            if path != entry.path {
                fs_err::rename(self.folder.join(&entry.path), self.folder.join(&path))?;
                entry.path = path;
            }
        }
        Ok(self.closed)
    }
}

impl Shard {
    /// Creates a shard; how many there will be is not known yet, so that the first has the name of the only one.
    fn create(folder: &Path, file: &str, n: usize, schema: &Arc<Schema>) -> Result<Self> {
        let path = if n == 0 { file.to_owned() } else { format!("{file}.{n}") };
        let writer = create(&folder.join(&path), schema.clone())?;
        Ok(Self { path, writer, hasher: PictureHasher::default(), bytes: BYTES_PER_FILE })
    }

    /// Writes rows as a row group.
    fn write(&mut self, schema: &Arc<Schema>, rows: Vec<PictureRow<'_>>) -> Result<()> {
        let Some(first) = rows.first() else { return Ok(()) };
        for row in &rows {
            let picture = &row.picture;
            self.hasher.add(row.texts.iter().copied(), &picture.sha256, picture.width as i32, picture.height as i32);
        }
        let text = |column: usize| -> ArrayRef {
            Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.texts[column])))
        };
        let ints = |f: fn(&Picture) -> u32| -> ArrayRef {
            Arc::new(Int32Array::from_iter_values(rows.iter().map(|row| f(&row.picture) as i32)))
        };
        let mut columns: Vec<ArrayRef> = (0..first.texts.len()).map(text).collect();
        let names = rows.iter().map(|row| Some(row.texts[0]));
        columns.push(images(names, rows.iter().map(|row| Some(row.picture.bytes.as_slice()))));
        columns.push(ints(|picture| picture.width));
        columns.push(ints(|picture| picture.height));
        let stand_ins: Vec<bool> = rows.iter().filter_map(|row| row.stand_in).collect();
        if stand_ins.len() == rows.len() {
            columns.push(Arc::new(BooleanArray::from(stand_ins)));
        }
        drop(rows);
        self.writer.write(&RecordBatch::try_new(schema.clone(), columns)?)?;
        self.writer.flush()?;
        Ok(())
    }

    fn close(self) -> Result<ManifestFile> {
        close(self.writer, &self.path, self.hasher.finish())
    }
}
