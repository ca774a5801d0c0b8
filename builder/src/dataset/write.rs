//! Rows and pictures to Parquet. The same input gives the same bytes.

use std::io::{self, Write};
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
use sha2::{Digest, Sha256};

use super::schema::{Column, crop_columns, image_columns, image_fields, mention_fields, row_columns, schema};
use super::{CROPS_FILE, CropKey, IMAGES_FILE, ManifestFile, Mention, PicturesPrint, Row, RowLabels, rows_fingerprint};
use crate::corpus::{TaskKind, hex};
use crate::error::Result;
pub use crate::images::Picture;

/// The bytes of a row's picture.
pub type PictureOf<'a> = dyn Fn(&Row) -> Result<Vec<u8>> + 'a;

/// Rows per record batch of a task file; with embedded pictures this bounds memory.
const BATCH_ROWS: usize = 512;

/// A file that hashes what is written to it, so that nobody has to read it again.
struct Hashed {
    file: fs_err::File,
    digest: Sha256,
    bytes: u64,
}

impl Write for Hashed {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let written = self.file.write(buffer)?;
        self.digest.update(&buffer[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Hashed {
    /// The manifest entry of the file.
    fn entry(self, path: &str, (rows, fingerprint): (usize, String)) -> ManifestFile {
        let (path, sha256) = (path.to_owned(), hex(&self.digest.finalize()));
        ManifestFile { path, rows: Some(rows), bytes: self.bytes, sha256, fingerprint: Some(fingerprint) }
    }
}

fn writer(path: &Path, schema: Arc<Schema>) -> Result<ArrowWriter<Hashed>> {
    // Picture files are compressed already, differ from one another, and nobody filters by their bytes.
    let pictures = ColumnPath::from(vec!["image".to_owned(), "bytes".to_owned()]);
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(3)?))
        .set_column_compression(pictures.clone(), Compression::UNCOMPRESSED)
        .set_column_dictionary_enabled(pictures.clone(), false)
        .set_column_statistics_enabled(pictures, EnabledStatistics::None)
        .set_created_by(format!("mkgc version {}", env!("CARGO_PKG_VERSION")))
        .build();
    let file = Hashed { file: fs_err::File::create(path)?, digest: Sha256::new(), bytes: 0 };
    Ok(ArrowWriter::try_new(file, schema, Some(properties))?)
}

/// Writes a task file, `path` in `folder`; with `picture`, each row's image goes into its column `image`.
///
/// # Errors
/// When the file cannot be written or a picture cannot be read.
pub fn write_rows(
    (folder, path): (&Path, &str),
    task: TaskKind,
    labels: &[String],
    rows: &[Row],
    picture: Option<&PictureOf<'_>>,
) -> Result<ManifestFile> {
    let schema = Arc::new(schema(&row_columns(task, picture.is_some()), labels));
    let mut writer = writer(&folder.join(path), schema.clone())?;
    for chunk in rows.chunks(BATCH_ROWS) {
        let mut columns = row_arrays(task, chunk);
        if let Some(picture) = picture {
            let bytes = chunk.iter().map(picture).collect::<Result<Vec<_>>>()?;
            columns.push(images(chunk.iter().map(|row| row.image_id.as_str()), &bytes));
            writer.write(&RecordBatch::try_new(schema.clone(), columns)?)?;
            writer.flush()?;
        } else {
            writer.write(&RecordBatch::try_new(schema.clone(), columns)?)?;
        }
    }
    Ok(writer.into_inner()?.entry(path, (rows.len(), rows_fingerprint(rows, labels))))
}

fn row_arrays(task: TaskKind, rows: &[Row]) -> Vec<ArrayRef> {
    let mut columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(rows.iter().map(|row| &row.id))),
        texts(rows.iter().map(|row| row.tokens.as_slice())),
    ];
    match task {
        TaskKind::Re => columns.extend(relation_arrays(rows)),
        TaskKind::Ner => columns.extend(entity_arrays(rows)),
    }
    columns.extend([
        Arc::new(Int32Array::from_iter(rows.iter().map(|row| row.owner_task.map(|task| task as i32)))) as ArrayRef,
        Arc::new(StringArray::from_iter_values(rows.iter().map(|row| &row.image_id))),
        texts(rows.iter().map(|row| row.crops.as_slice())),
    ]);
    columns
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
    let (bytes, ids) = (BinaryArray::from_iter_values(bytes), StringArray::from_iter_values(ids));
    Arc::new(StructArray::new(image_fields(), vec![Arc::new(bytes), Arc::new(ids)], None))
}

/// Writes the images or the crops file chunk by chunk: memory does not grow with the number of pictures.
pub struct PictureWriter {
    path: &'static str,
    schema: Arc<Schema>,
    writer: ArrowWriter<Hashed>,
    print: PicturesPrint,
}

impl PictureWriter {
    /// Starts the images file of a benchmark folder.
    ///
    /// # Errors
    /// When it cannot be created.
    pub fn images(folder: &Path) -> Result<Self> {
        Self::create(folder, IMAGES_FILE, &image_columns())
    }

    /// Starts the crops file of a benchmark folder.
    ///
    /// # Errors
    /// When it cannot be created.
    pub fn crops(folder: &Path) -> Result<Self> {
        Self::create(folder, CROPS_FILE, &crop_columns())
    }

    fn create(folder: &Path, path: &'static str, columns: &[Column]) -> Result<Self> {
        fs_err::create_dir_all(folder.join("images"))?;
        let schema = Arc::new(schema(columns, &[]));
        let writer = writer(&folder.join(path), schema.clone())?;
        Ok(Self { path, schema, writer, print: PicturesPrint::default() })
    }

    /// Appends pictures `(id, picture, is placeholder)` and flushes them to the file.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&mut self, pictures: Vec<(&str, Picture, bool)>) -> Result<()> {
        let ids: Vec<&str> = pictures.iter().map(|(id, ..)| *id).collect();
        let stand_ins: Vec<bool> = pictures.iter().map(|(.., stand_in)| *stand_in).collect();
        let mut columns = vec![strings(ids.iter().copied())];
        for (id, picture, _) in &pictures {
            self.print.add([*id], &picture.sha256, picture.width as i32, picture.height as i32);
        }
        columns.extend(files(&ids, pictures.into_iter().map(|(_, picture, _)| picture).collect()));
        columns.push(Arc::new(BooleanArray::from(stand_ins)));
        self.append(columns)
    }

    /// Appends crops and flushes them to the file.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_crops(&mut self, crops: Vec<(CropKey, Picture)>) -> Result<()> {
        for (key, picture) in &crops {
            let texts = [&key.id, key.split.name(), key.kind.name(), &key.image_id];
            self.print.add(texts, &picture.sha256, picture.width as i32, picture.height as i32);
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

    /// Ends the file; what the manifest says of it.
    ///
    /// # Errors
    /// When the footer cannot be written.
    pub fn close(self) -> Result<ManifestFile> {
        Ok(self.writer.into_inner()?.entry(self.path, self.print.finish()))
    }
}

fn strings<'a>(texts: impl Iterator<Item = &'a str>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(texts))
}

/// Image, width and height.
fn files(ids: &[&str], pictures: Vec<Picture>) -> [ArrayRef; 3] {
    let ints = |f: fn(&Picture) -> u32| {
        Arc::new(Int32Array::from_iter_values(pictures.iter().map(|picture| f(picture) as i32))) as ArrayRef
    };
    let (width, height) = (ints(|p| p.width), ints(|p| p.height));
    let bytes: Vec<Vec<u8>> = pictures.into_iter().map(|picture| picture.bytes).collect();
    [images(ids.iter().copied(), &bytes), width, height]
}
