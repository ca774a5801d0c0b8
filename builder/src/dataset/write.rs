//! Writes rows as Parquet. The same input gives the same bytes.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryArray, Int32Array, Int64Array, ListArray, RecordBatch, StringArray, StructArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Schema};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

use super::fingerprint::{Content, RowHasher};
use super::manifest::ManifestFile;
use super::rows::{Row, RowLabels};
use super::schema::{RowPictures, image_fields, mention_fields, row_columns, schema};
use crate::corpus::{Extraction, Mention};
use crate::error::Result;
use crate::files::HashingFile;

/// Rows of a row group at most. A writer holds the group that it is at in memory.
const ROW_GROUP: usize = 1 << 15;

/// Rows per record batch of a task file, which bounds memory when pictures are embedded.
const BATCH_ROWS: usize = 512;
/// Bytes of embedded pictures with which a record batch ends; an Arrow array holds at most 2 GiB.
const BATCH_BYTES: usize = 256 << 20;

/// Closes a file and returns its manifest entry.
pub(super) fn close(writer: ArrowWriter<HashingFile>, path: &str, content: Content) -> Result<ManifestFile> {
    let file = writer.into_inner()?;
    Ok(ManifestFile {
        path: path.to_owned(),
        rows: Some(content.rows),
        bytes: file.bytes(),
        sha256: file.sha256(),
        fingerprint: Some(content.fingerprint),
    })
}

/// Creates a Parquet file of rows or pictures.
pub(super) fn create(path: &Path, schema: Arc<Schema>) -> Result<ArrowWriter<HashingFile>> {
    // Picture files are already compressed and all different, and nobody filters by their bytes.
    let pictures = ColumnPath::from(vec!["image".to_owned(), "bytes".to_owned()]);
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(3)?))
        .set_max_row_group_row_count(Some(ROW_GROUP))
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
    /// Label names by id, which become part of the file's schema and fingerprint.
    pub labels: &'a [String],
    /// What the rows say of their pictures.
    pub pictures: RowPictures,
    /// Reads the picture of a row, if pictures are embedded.
    pub picture: PictureOf<'a>,
}

/// The rows of a record batch, with their pictures.
#[derive(Default)]
struct Batch {
    rows: Vec<Row>,
    /// The picture of each row, if pictures are embedded.
    pictures: Vec<Option<Vec<u8>>>,
}

impl RowFile<'_> {
    /// Writes the rows, a batch at a time, and returns the manifest entry of the file.
    ///
    /// # Errors
    /// The file cannot be written, or a picture cannot be read.
    pub fn write(&self, mut rows: impl Iterator<Item = Row>) -> Result<ManifestFile> {
        let schema = Arc::new(schema(&row_columns(self.task, self.pictures), self.labels));
        let mut writer = create(&self.folder.join(self.path), schema.clone())?;
        let mut hasher = RowHasher::new(self.labels);
        loop {
            let Batch { rows: chunk, pictures } = self.next_batch(&mut rows)?;
            if chunk.is_empty() {
                break;
            }
            hasher.add(&chunk);
            let mut columns = row_arrays(self.task, &chunk);
            if self.pictures != RowPictures::None {
                columns.extend(picture_names(&chunk));
            }
            if self.pictures == RowPictures::Embedded {
                let names = chunk.iter().map(|row| row.image_id.as_deref());
                columns.push(images(names, pictures.iter().map(Option::as_deref)));
            }
            writer.write(&RecordBatch::try_new(schema.clone(), columns)?)?;
            if self.pictures == RowPictures::Embedded {
                writer.flush()?;
            }
        }
        close(writer, self.path, hasher.finish())
    }

    /// Takes the rows of the next record batch, and reads their pictures if these are embedded.
    fn next_batch(&self, rows: &mut impl Iterator<Item = Row>) -> Result<Batch> {
        let mut batch = Batch::default();
        let mut bytes = 0;
        while batch.rows.len() < BATCH_ROWS && bytes < BATCH_BYTES {
            let Some(row) = rows.next() else { break };
            if self.pictures == RowPictures::Embedded {
                let picture = if row.image_id.is_some() { Some((self.picture)(&row)?) } else { None };
                bytes += picture.as_ref().map_or(0, Vec::len);
                batch.pictures.push(picture);
            }
            batch.rows.push(row);
        }
        Ok(batch)
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

/// Returns a column of pictures, given their names and bytes; null where a row has none.
pub(super) fn images<'a>(
    ids: impl Iterator<Item = Option<&'a str>>,
    bytes: impl Iterator<Item = Option<&'a [u8]>>,
) -> ArrayRef {
    let bytes = BinaryArray::from_iter(bytes);
    let ids = StringArray::from_iter(ids);
    let present = bytes.nulls().cloned();
    Arc::new(StructArray::new(image_fields(), vec![Arc::new(bytes), Arc::new(ids)], present))
}
