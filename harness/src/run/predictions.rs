//! `stages/k/predictions.parquet`: one row per test instance, from which every metric is derived.
//!
//! Columns: `id` string; `owner_task` int32 (null where no task owns the row); `gold`, `predicted` list of int64 label
//! ids (RE one each, NER one per word); `scores` list of float32 (RE one logit per label, minus infinity for labels
//! not seen; empty for NER). For networks of two streams also `predicted_text` and `predicted_vision`, lists of int64 as
//! `predicted`: what each half of the classifier says alone. Readers find columns by name.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Float32Builder, Int32Array, Int64Builder, ListArray, ListBuilder, RecordBatch,
    StringArray,
};
use arrow::datatypes::{Float32Type, Int32Type, Int64Type};
use mkgc_builder::guarded::{Guarded, guarded};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use schemars::JsonSchema;

use super::REMEDY;
use crate::error::{Error, Result};
use crate::files::write_durably;

/// One test row and what was predicted for it: a row of `predictions.parquet`.
#[derive(Debug, Clone, Default, PartialEq, JsonSchema)]
#[schemars(rename = "Predicted")]
pub struct PredictionRow {
    /// Id of the test row in the benchmark (string).
    pub id: String,
    /// 0-based task that owns the row (int32, null where no task does).
    #[schemars(rename = "owner_task", required, extend("type" = ["integer", "null"]))]
    pub owner: Option<usize>,
    /// Gold label ids (list of int64): relations one, entities one per word. Classes not seen yet are id 0.
    pub gold: Vec<u32>,
    /// Predicted label ids (list of int64), as many.
    pub predicted: Vec<u32>,
    /// Scores by label id (list of float32; relations one per label, minus infinity for labels not seen), or none.
    pub scores: Vec<f32>,
    /// Label ids that the text half predicts alone (list of int64), as many as `predicted`; the column is there for
    /// networks of two streams only.
    #[schemars(rename = "predicted_text", default)]
    pub text: Vec<u32>,
    /// The same of the vision half.
    #[schemars(rename = "predicted_vision", default)]
    pub vision: Vec<u32>,
}

/// Writes the predictions of a stage.
pub fn write(path: &Path, rows: &[PredictionRow]) -> Result<()> {
    let owner: Int32Array = rows.iter().map(|row| row.owner.map(|owner| owner as i32)).collect();
    let mut columns: Vec<(&str, ArrayRef)> = vec![
        ("id", Arc::new(rows.iter().map(|row| Some(row.id.as_str())).collect::<StringArray>())),
        ("owner_task", Arc::new(owner)),
        ("gold", labels(rows.iter().map(|row| &row.gold))),
        ("predicted", labels(rows.iter().map(|row| &row.predicted))),
        ("scores", scores(rows)),
    ];
    if rows.iter().any(|row| !row.text.is_empty()) {
        columns.push(("predicted_text", labels(rows.iter().map(|row| &row.text))));
        columns.push(("predicted_vision", labels(rows.iter().map(|row| &row.vision))));
    }
    let batch =
        RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true)))?;
    let zstd = WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::try_new(9)?)).build();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), Some(zstd))?;
    writer.write(&batch)?;
    writer.close()?;
    write_durably(path, &bytes)
}

fn labels<'a>(rows: impl Iterator<Item = &'a Vec<u32>>) -> ArrayRef {
    let mut list = ListBuilder::new(Int64Builder::new());
    for row in rows {
        row.iter().for_each(|label| list.values().append_value(i64::from(*label)));
        list.append(true);
    }
    Arc::new(list.finish())
}

fn scores(rows: &[PredictionRow]) -> ArrayRef {
    let mut list = ListBuilder::new(Float32Builder::new());
    for row in rows {
        list.values().append_slice(&row.scores);
        list.append(true);
    }
    Arc::new(list.finish())
}

/// Reads the predictions of a stage.
///
/// # Errors
/// The file is missing, cut off or damaged, or a column is missing or of another type.
pub fn read(path: &Path) -> Result<Vec<PredictionRow>> {
    let damaged = || Error::Usage(format!("{}: is no whole Parquet file; {REMEDY}", path.display()));
    let file = fs_err::File::open(path)?.into_parts().0;
    let open = || ParquetRecordBatchReaderBuilder::try_new(file).and_then(ParquetRecordBatchReaderBuilder::build);
    let reader = guarded(open).and_then(std::result::Result::ok).ok_or_else(damaged)?;
    let mut rows = Vec::new();
    for batch in Guarded::new(reader) {
        let batch = batch.and_then(std::result::Result::ok).ok_or_else(damaged)?;
        rows.append(&mut read_batch(&batch, path)?);
    }
    Ok(rows)
}

fn read_batch(batch: &RecordBatch, path: &Path) -> Result<Vec<PredictionRow>> {
    let reason = "is missing or of another type, or holds an id that no label has";
    let damaged = |name: &str| Error::Usage(format!("{}: column `{name}` {reason}; {REMEDY}", path.display()));
    let column = |name: &str| batch.column_by_name(name).ok_or_else(|| damaged(name));
    let list = |name: &str| column(name)?.as_list_opt::<i32>().ok_or_else(|| damaged(name));
    let ids = column("id")?.as_string_opt::<i32>().ok_or_else(|| damaged("id"))?;
    let owners = column("owner_task")?.as_primitive_opt::<Int32Type>().ok_or_else(|| damaged("owner_task"))?;
    let gold = list("gold")?;
    let predicted = list("predicted")?;
    let scores = list("scores")?;
    let optional = |name: &str| batch.column_by_name(name).is_some().then(|| list(name)).transpose();
    let text = optional("predicted_text")?;
    let vision = optional("predicted_vision")?;
    let label_ids = |array: ArrayRef, name: &str| -> Result<Vec<u32>> {
        let values = array.as_primitive_opt::<Int64Type>().ok_or_else(|| damaged(name))?;
        values.values().iter().map(|id| u32::try_from(*id).map_err(|_| damaged(name))).collect()
    };
    let half = |of: Option<&ListArray>, i: usize, name: &str| {
        of.map_or_else(|| Ok(Vec::new()), |list| label_ids(list.value(i), name))
    };
    let row = |i: usize| -> Result<PredictionRow> {
        let values = scores.value(i);
        Ok(PredictionRow {
            id: ids.value(i).to_owned(),
            owner: owners.is_valid(i).then(|| owners.value(i) as usize),
            gold: label_ids(gold.value(i), "gold")?,
            predicted: label_ids(predicted.value(i), "predicted")?,
            scores: values.as_primitive_opt::<Float32Type>().ok_or_else(|| damaged("scores"))?.values().to_vec(),
            text: half(text, i, "predicted_text")?,
            vision: half(vision, i, "predicted_vision")?,
        })
    };
    (0..batch.num_rows()).map(row).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn rows_come_back_as_written() {
        let path = tempfile::tempdir().unwrap().keep().join("p.parquet");
        let row = |id: &str, owner, scores| PredictionRow {
            id: id.into(),
            owner,
            gold: vec![1, 2],
            predicted: vec![0, 2],
            scores,
            ..PredictionRow::default()
        };
        let rows = vec![row("a", Some(3), vec![0.5, f32::NEG_INFINITY]), row("b", None, vec![])];
        let halves = |row: &PredictionRow| PredictionRow { text: vec![1, 0], vision: vec![2, 2], ..row.clone() };
        for rows in [rows.iter().map(halves).collect(), rows, vec![]] {
            write(&path, &rows).unwrap();
            assert_eq!(read(&path).unwrap(), rows);
        }
        fs_err::remove_dir_all(path.parent().unwrap()).unwrap();
    }

    /// The Parquet reader panics at some, such as a column of negative length.
    #[test]
    fn no_damaged_byte_ends_the_program() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("p.parquet");
        let row = PredictionRow { id: "a".into(), gold: vec![1], predicted: vec![2], ..PredictionRow::default() };
        write(&path, &[row]).unwrap();
        let whole = fs_err::read(&path).unwrap();
        let mut refused = 0;
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            fs_err::write(&path, damaged).unwrap();
            refused += usize::from(read(&path).is_err_and(|error| error.to_string().contains("p.parquet")));
        }
        assert!(refused > whole.len() / 4, "{refused} of {}", whole.len());
    }
}
