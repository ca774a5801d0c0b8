//! Opens Parquet files for the columns that are read.

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::basic::Compression;
use parquet::file::metadata::{ColumnChunkMetaData, RowGroupMetaData};
use parquet::file::reader::ChunkReader;

use super::parquet_values::has_bytes;
use super::sentence::Field;
use super::value::FieldPath;
use crate::error::hint;
use crate::guarded::{Guarded, guarded};

/// Returns the column in which the path of a field begins.
pub(super) fn root<'s>(path: &str, schema: &'s Schema) -> Option<&'s String> {
    let column = |name: &str| schema.fields().iter().map(|field| field.name()).find(|known| *known == name);
    column(path).or_else(|| column(path.split('.').next()?))
}

/// The columns of a Parquet file that are read.
pub(super) struct Table {
    batches: Guarded<ParquetRecordBatchReader>,
    /// What `datasets` says of the columns, or null.
    pub(super) features: serde_json::Value,
    /// Whether a column contains bytes.
    pub(super) has_bytes: bool,
}

/// Rows are read this many at a time, and fewer where they contain pictures, which are large.
const BATCH: usize = 1024;
const PICTURE_BATCH: usize = 64;

impl Table {
    /// Opens a file for the columns in which `paths` begin.
    ///
    /// # Errors
    /// It is not Parquet, is compressed otherwise than with Snappy or Zstandard, or lacks a column.
    pub(super) fn open(source: impl ChunkReader + 'static, paths: &[&FieldPath]) -> Field<Self> {
        let opened = guarded(|| ParquetRecordBatchReaderBuilder::try_new(source));
        let builder = opened.and_then(Result::ok).ok_or_else(unreadable)?;
        let schema = builder.schema().clone();
        let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        let mut roots = Vec::new();
        for path in paths {
            let missing = || {
                let hint = hint(&path.0, names.iter().copied());
                format!("no column `{}`{hint}; the file has {}", path.0, names.join(", "))
            };
            let name = root(&path.0, &schema).ok_or_else(missing)?;
            roots.extend(names.iter().position(|known| known == name));
        }
        let groups = builder.metadata().row_groups();
        let compression = groups.iter().flat_map(RowGroupMetaData::columns).map(ColumnChunkMetaData::compression);
        let known = |found: &Compression| {
            matches!(found, Compression::UNCOMPRESSED | Compression::SNAPPY | Compression::ZSTD(_))
        };
        if let Some(other) = compression.into_iter().find(|found| !known(found)) {
            let codec = other.to_string();
            let codec = codec.split('(').next().unwrap_or_default();
            return Err(format!("compressed with {codec}; write the file with `snappy` or `zstd`"));
        }
        let has_bytes = roots.iter().any(|root| has_bytes(schema.field(*root).data_type()));
        let features = schema.metadata().get("huggingface").and_then(|text| serde_json::from_str(text).ok());
        let features = features.and_then(|json: serde_json::Value| json.pointer("/info/features").cloned());
        let mask = ProjectionMask::roots(builder.parquet_schema(), roots);
        let size = if has_bytes { PICTURE_BATCH } else { BATCH };
        let builder = builder.with_projection(mask).with_batch_size(size);
        let batches = guarded(|| builder.build()).and_then(Result::ok).ok_or_else(unreadable)?;
        Ok(Self { batches: Guarded::new(batches), features: features.unwrap_or_default(), has_bytes })
    }

    /// Reads the next rows; `None` after the last.
    ///
    /// # Errors
    /// The file is damaged.
    pub(super) fn next_batch(&mut self) -> Option<Field<RecordBatch>> {
        let batch = self.batches.next()?;
        Some(batch.and_then(Result::ok).ok_or_else(unreadable))
    }
}

pub(super) fn unreadable() -> String {
    "not a Parquet file, or a damaged one; fetch or write it again".to_owned()
}
