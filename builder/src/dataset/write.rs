//! Writes rows and pictures as Parquet. The same input gives the same bytes.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Int32Array, Int64Array, ListArray, RecordBatch, StringArray, StructArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Schema};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

use super::fingerprint::{Content, PictureHasher, rows_content};
use super::layout::{CROPS_FILE, IMAGES_FILE};
use super::manifest::ManifestFile;
use super::pictures::CropKey;
use super::rows::{Row, RowLabels};
use super::schema::{
    ColumnSpec, RowPictures, crop_columns, image_columns, image_fields, mention_fields, row_columns, schema,
};
use crate::corpus::{Extraction, Mention};
use crate::error::Result;
use crate::files::HashingFile;
use crate::images::Picture;

/// Rows per record batch of a task file, which bounds memory when pictures are embedded.
const BATCH_ROWS: usize = 512;

/// Closes a file and returns its manifest entry.
fn close(writer: ArrowWriter<HashingFile>, path: &str, content: Content) -> Result<ManifestFile> {
    let file = writer.into_inner()?;
    Ok(ManifestFile {
        path: path.to_owned(),
        rows: Some(content.rows),
        bytes: file.bytes(),
        sha256: file.sha256(),
        fingerprint: Some(content.fingerprint),
    })
}

fn create(path: &Path, schema: Arc<Schema>) -> Result<ArrowWriter<HashingFile>> {
    // Picture files are already compressed and all different, and nobody filters by their bytes.
    let pictures = ColumnPath::from(vec!["image".to_owned(), "bytes".to_owned()]);
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(3)?))
        .set_column_compression(pictures.clone(), Compression::UNCOMPRESSED)
        .set_column_dictionary_enabled(pictures.clone(), false)
        .set_column_statistics_enabled(pictures, EnabledStatistics::None)
        .set_created_by(format!("mkgc version {}", env!("CARGO_PKG_VERSION")))
        .build();
    Ok(ArrowWriter::try_new(HashingFile::create(path)?, schema, Some(properties))?)
}

/// Returns the bytes of a row's picture.
pub type PictureOf<'a> = &'a dyn Fn(&Row) -> Result<Vec<u8>>;

/// A task file to write.
pub struct RowFile<'a> {
    pub folder: &'a Path,
    /// Path of the file relative to the benchmark folder.
    pub path: &'a str,
    pub task: Extraction,
    /// Label names by id.
    pub labels: &'a [String],
    pub rows: &'a [Row],
    /// What the rows say of their pictures.
    pub pictures: RowPictures,
    /// Reads a picture to embed.
    pub picture: PictureOf<'a>,
}

impl RowFile<'_> {
    /// Writes the file and returns its manifest entry.
    ///
    /// # Errors
    /// The file cannot be written, or a picture cannot be read.
    pub fn write(&self) -> Result<ManifestFile> {
        let schema = Arc::new(schema(&row_columns(self.task, self.pictures), self.labels));
        let mut writer = create(&self.folder.join(self.path), schema.clone())?;
        for chunk in self.rows.chunks(BATCH_ROWS) {
            let mut columns = row_arrays(self.task, chunk);
            if self.pictures != RowPictures::None {
                columns.extend(picture_names(chunk));
            }
            if self.pictures == RowPictures::Embedded {
                let bytes = chunk.iter().map(self.picture).collect::<Result<Vec<_>>>()?;
                columns.push(images(chunk.iter().flat_map(|row| row.image_id.as_deref()), &bytes));
            }
            writer.write(&RecordBatch::try_new(schema.clone(), columns)?)?;
            if self.pictures == RowPictures::Embedded {
                writer.flush()?;
            }
        }
        close(writer, self.path, rows_content(self.rows, self.labels))
    }
}

fn row_arrays(task: Extraction, rows: &[Row]) -> Vec<ArrayRef> {
    let mut columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(rows.iter().map(|row| &row.id))),
        texts(rows.iter().map(|row| row.tokens.as_slice())),
    ];
    match task {
        Extraction::Relations => columns.extend(relation_arrays(rows)),
        Extraction::Entities => columns.extend(entity_arrays(rows)),
    }
    columns.push(Arc::new(Int32Array::from_iter(rows.iter().map(|row| row.owner_task.map(|task| task as i32)))));
    columns
}

/// Returns the columns `image_id` and `crops`.
fn picture_names(rows: &[Row]) -> [ArrayRef; 2] {
    let names = StringArray::from_iter(rows.iter().map(|row| row.image_id.as_deref()));
    [Arc::new(names), texts(rows.iter().map(|row| row.crops.as_slice()))]
}

fn relation_arrays(rows: &[Row]) -> [ArrayRef; 4] {
    let relations = rows.iter().filter_map(|row| match &row.labels {
        RowLabels::Relation { head, tail, relation, original } => Some((head, tail, *relation, *original)),
        RowLabels::Entities { .. } => None,
    });
    let ids = |f: fn((&Mention, &Mention, usize, usize)) -> usize| {
        Arc::new(Int64Array::from_iter_values(relations.clone().map(|row| f(row) as i64))) as ArrayRef
    };
    [
        mentions(relations.clone().map(|row| row.0)),
        mentions(relations.clone().map(|row| row.1)),
        ids(|row| row.2),
        ids(|row| row.3),
    ]
}

fn entity_arrays(rows: &[Row]) -> [ArrayRef; 2] {
    let tags = |f: fn(&RowLabels) -> &[usize]| {
        let lists: Vec<&[usize]> = rows.iter().map(|row| f(&row.labels)).collect();
        let values = Int64Array::from_iter_values(lists.iter().flat_map(|list| list.iter()).map(|id| *id as i64));
        lists_of(lists.iter().map(|list| list.len()), Arc::new(values), DataType::Int64)
    };
    [
        tags(|labels| match labels {
            RowLabels::Entities { tags, .. } => tags,
            RowLabels::Relation { .. } => &[],
        }),
        tags(|labels| match labels {
            RowLabels::Entities { original, .. } => original,
            RowLabels::Relation { .. } => &[],
        }),
    ]
}

fn lists_of(lengths: impl Iterator<Item = usize>, values: ArrayRef, item: DataType) -> ArrayRef {
    Arc::new(ListArray::new(
        Arc::new(Field::new("item", item, true)),
        OffsetBuffer::from_lengths(lengths),
        values,
        None,
    ))
}

fn texts<'a>(rows: impl Iterator<Item = &'a [String]> + Clone) -> ArrayRef {
    let values = StringArray::from_iter_values(rows.clone().flatten());
    lists_of(rows.map(<[_]>::len), Arc::new(values), DataType::Utf8)
}

fn mentions<'a>(rows: impl Iterator<Item = &'a Mention> + Clone) -> ArrayRef {
    let ints = |f: fn(&Mention) -> usize| {
        Arc::new(Int32Array::from_iter_values(rows.clone().map(|m| f(m) as i32))) as ArrayRef
    };
    let names = Arc::new(StringArray::from_iter_values(rows.clone().map(|m| &m.name)));
    Arc::new(StructArray::new(mention_fields(), vec![names, ints(|m| m.start), ints(|m| m.end)], None))
}

fn images<'a>(ids: impl Iterator<Item = &'a str>, bytes: &[Vec<u8>]) -> ArrayRef {
    let bytes = BinaryArray::from_iter_values(bytes);
    let ids = StringArray::from_iter_values(ids);
    Arc::new(StructArray::new(image_fields(), vec![Arc::new(bytes), Arc::new(ids)], None))
}

/// A picture to write into the images file.
pub struct NewPicture<'a> {
    /// File name, as in [`Row::image_id`].
    pub id: &'a str,
    /// The file and its size.
    pub picture: Picture,
    /// Whether it stands in for a missing or broken picture.
    pub stand_in: bool,
}

/// Writes the images or the crops file in batches, so that memory use does not depend on the number of pictures.
pub struct PictureWriter {
    path: &'static str,
    schema: Arc<Schema>,
    writer: ArrowWriter<HashingFile>,
    hasher: PictureHasher,
}

impl PictureWriter {
    /// Creates the images file of a benchmark folder.
    ///
    /// # Errors
    /// The file cannot be created.
    pub fn images(folder: &Path) -> Result<Self> {
        Self::create(folder, IMAGES_FILE, &image_columns())
    }

    /// Creates the crops file of a benchmark folder.
    ///
    /// # Errors
    /// The file cannot be created.
    pub fn crops(folder: &Path) -> Result<Self> {
        Self::create(folder, CROPS_FILE, &crop_columns())
    }

    fn create(folder: &Path, path: &'static str, columns: &[ColumnSpec]) -> Result<Self> {
        fs_err::create_dir_all(folder.join("images"))?;
        let schema = Arc::new(schema(columns, &[]));
        let writer = create(&folder.join(path), schema.clone())?;
        Ok(Self { path, schema, writer, hasher: PictureHasher::default() })
    }

    /// Appends pictures and flushes them to the file.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&mut self, pictures: Vec<NewPicture<'_>>) -> Result<()> {
        let ids: Vec<&str> = pictures.iter().map(|new| new.id).collect();
        let stand_ins: Vec<bool> = pictures.iter().map(|new| new.stand_in).collect();
        let mut columns = vec![strings(ids.iter().copied())];
        for NewPicture { id, picture, .. } in &pictures {
            self.hasher.add([*id], &picture.sha256, picture.width as i32, picture.height as i32);
        }
        columns.extend(files(&ids, pictures.into_iter().map(|new| new.picture).collect()));
        columns.push(Arc::new(BooleanArray::from(stand_ins)));
        self.append(columns)
    }

    /// Appends crops and flushes them to the file.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write_crops(&mut self, crops: Vec<(CropKey, Picture)>) -> Result<()> {
        for (key, picture) in &crops {
            let texts = [&key.id, key.split.name(), key.kind.name(), &key.image_id];
            self.hasher.add(texts, &picture.sha256, picture.width as i32, picture.height as i32);
        }
        let (keys, pictures): (Vec<CropKey>, Vec<Picture>) = crops.into_iter().unzip();
        let ids: Vec<&str> = keys.iter().map(|key| key.id.as_str()).collect();
        let mut columns = vec![
            strings(ids.iter().copied()),
            strings(keys.iter().map(|key| key.split.name())),
            strings(keys.iter().map(|key| key.kind.name())),
            strings(keys.iter().map(|key| key.image_id.as_str())),
        ];
        columns.extend(files(&ids, pictures));
        self.append(columns)
    }

    fn append(&mut self, columns: Vec<ArrayRef>) -> Result<()> {
        self.writer.write(&RecordBatch::try_new(self.schema.clone(), columns)?)?;
        self.writer.flush()?;
        Ok(())
    }

    /// Closes the file and returns its manifest entry.
    ///
    /// # Errors
    /// The footer cannot be written.
    pub fn close(self) -> Result<ManifestFile> {
        close(self.writer, self.path, self.hasher.finish())
    }
}

fn strings<'a>(texts: impl Iterator<Item = &'a str>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(texts))
}

/// Returns the columns `image`, `width` and `height`.
fn files(ids: &[&str], pictures: Vec<Picture>) -> [ArrayRef; 3] {
    let ints = |f: fn(&Picture) -> u32| {
        Arc::new(Int32Array::from_iter_values(pictures.iter().map(|picture| f(picture) as i32))) as ArrayRef
    };
    let width = ints(|picture| picture.width);
    let height = ints(|picture| picture.height);
    let bytes: Vec<Vec<u8>> = pictures.into_iter().map(|picture| picture.bytes).collect();
    [images(ids.iter().copied(), &bytes), width, height]
}
