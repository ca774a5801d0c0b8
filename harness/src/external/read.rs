//! Reads files of predictions: Parquet, JSON lines or CSV with the columns `stage` (optional if the stage is given with the
//! file), `id`, `prediction` and, optionally, `scores`. Labels are names or ids. In CSV, a field holds several labels or
//! scores separated by spaces.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Float32Type, Int64Type};
use mkgc_builder::corpus::Extraction;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use polars::prelude::{CsvReadOptions, SerReader};
use serde::Deserialize;

use crate::error::{Error, Result};

/// A file of predictions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PredictionFile {
    /// 0-based stage of all rows; `None` if each row names its own.
    pub stage: Option<usize>,
    /// Path of the file.
    pub path: PathBuf,
}

impl FromStr for PredictionFile {
    type Err = std::convert::Infallible;

    /// Parses `FILE` or `STAGE=FILE`.
    fn from_str(text: &str) -> std::result::Result<Self, Self::Err> {
        let given = text.split_once('=').and_then(|(stage, path)| Some((stage.parse().ok()?, path)));
        Ok(given.map_or_else(
            || Self { stage: None, path: text.into() },
            |(stage, path)| Self { stage: Some(stage), path: path.into() },
        ))
    }
}

/// A row of a file of predictions, before it is checked.
#[derive(Debug, Clone, PartialEq)]
pub struct SubmittedRow {
    /// 0-based stage.
    pub stage: usize,
    /// Id of the test row.
    pub id: String,
    /// Names or ids of labels.
    pub prediction: Vec<String>,
    /// Scores by label id, minus infinity where the file has none.
    pub scores: Vec<f32>,
}

/// A row before its stage is known.
#[derive(Deserialize)]
struct RawRow {
    stage: Option<i64>,
    id: String,
    prediction: OneOrMany,
    #[serde(default)]
    scores: Option<Vec<Option<f32>>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(NameOrId),
    Many(Vec<NameOrId>),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum NameOrId {
    Name(String),
    Id(i64),
}

impl From<NameOrId> for String {
    fn from(label: NameOrId) -> Self {
        match label {
            NameOrId::Name(name) => name,
            NameOrId::Id(id) => id.to_string(),
        }
    }
}

/// Reads a file, whose format follows from its extension.
pub fn read(file: &PredictionFile, kind: Extraction) -> Result<Vec<SubmittedRow>> {
    let path = file.path.as_path();
    let rows = match path.extension().and_then(|extension| extension.to_str()) {
        Some("parquet") => parquet(path)?,
        Some("jsonl") => jsonl(path)?,
        Some("csv") => csv(path, kind)?,
        _ => return Err(bad(path, "is none of .parquet, .jsonl and .csv")),
    };
    rows.into_iter().map(|row| with_stage(row, file)).collect()
}

fn bad(path: &Path, reason: impl std::fmt::Display) -> Error {
    Error::Usage(format!("{}: {reason}", path.display()))
}

/// Gives a row the stage that it or its file names.
fn with_stage(row: RawRow, file: &PredictionFile) -> Result<SubmittedRow> {
    let id = &row.id;
    let named = row.stage.map(|stage| {
        usize::try_from(stage).map_err(|_| bad(&file.path, format!("row {id}: stage {stage}: stages begin at 0")))
    });
    let stage = match (named.transpose()?, file.stage) {
        (Some(named), Some(stage)) if named != stage => {
            let reason = format!("row {id} is of stage {named}, the file was given as stage {stage}");
            return Err(bad(&file.path, reason));
        }
        (Some(stage), _) | (None, Some(stage)) => stage,
        (None, None) => {
            let remedy = "add the column `stage`, or give the file as that of a stage: --predictions 0=FILE";
            return Err(bad(&file.path, format!("row {id} has no stage; {remedy}")));
        }
    };
    let prediction = match row.prediction {
        OneOrMany::One(label) => vec![label.into()],
        OneOrMany::Many(labels) => labels.into_iter().map(Into::into).collect(),
    };
    let scores = row.scores.unwrap_or_default().into_iter().map(|score| score.unwrap_or(f32::NEG_INFINITY)).collect();
    Ok(SubmittedRow { stage, id: row.id, prediction, scores })
}

fn jsonl(path: &Path) -> Result<Vec<RawRow>> {
    let text = fs_err::read_to_string(path)?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(i, line)| serde_json::from_str(line).map_err(|error| bad(path, format!("line {}: {error}", i + 1))))
        .collect()
}

fn csv(path: &Path, kind: Extraction) -> Result<Vec<RawRow>> {
    // Every column is read as text: types must not be guessed from the first rows.
    let options = CsvReadOptions::default().with_infer_schema_length(Some(0));
    let frame = options.try_into_reader_with_file_path(Some(path.to_owned())).and_then(SerReader::finish);
    let frame = frame.map_err(|error| bad(path, error))?;
    let column = |name: &str| -> Result<Vec<Option<String>>> {
        let column = frame.column(name).map_err(|_| bad(path, format!("there is no column `{name}`")))?;
        Ok(column.str()?.iter().map(|text| text.map(str::to_owned)).collect())
    };
    let optional = |name| if frame.column(name).is_ok() { column(name) } else { Ok(vec![None; frame.height()]) };
    let stages = optional("stage")?;
    let ids = column("id")?;
    let predictions = column("prediction")?;
    let scores = optional("scores")?;
    let labels = |text: String| match kind {
        Extraction::Relations => OneOrMany::One(NameOrId::Name(text)),
        Extraction::Entities => {
            OneOrMany::Many(text.split_whitespace().map(|tag| NameOrId::Name(tag.to_owned())).collect())
        }
    };
    let rows = stages.into_iter().zip(ids).zip(predictions.into_iter().zip(scores));
    rows.enumerate()
        .map(|(i, ((stage, id), (prediction, scores)))| {
            let wrong = |what: &str| bad(path, format!("row {} below the heading: {what}", i + 1));
            let scores =
                scores.map(|text| numbers(&text).ok_or_else(|| wrong("`scores` holds something that is not a number")));
            Ok(RawRow {
                stage: stage.map(|text| text.parse().map_err(|_| wrong("`stage` is not a number"))).transpose()?,
                id: id.ok_or_else(|| wrong("`id` is empty"))?,
                prediction: labels(prediction.unwrap_or_default()),
                scores: scores.transpose()?,
            })
        })
        .collect()
}

fn numbers(text: &str) -> Option<Vec<Option<f32>>> {
    text.split_whitespace().map(|number| number.parse().ok().map(Some)).collect()
}

/// The remedy for a file that cannot be read: mkgc is built with these codecs alone.
const COMPRESSIONS: &str = "write Parquet compressed with snappy or zstd, or not at all";

fn parquet(path: &Path) -> Result<Vec<RawRow>> {
    let unreadable = |error: &dyn std::fmt::Display| bad(path, format!("{error}; {COMPRESSIONS}"));
    let file = fs_err::File::open(path)?.into_parts().0;
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).and_then(ParquetRecordBatchReaderBuilder::build);
    let reader = reader.map_err(|error| unreadable(&error))?;
    let mut rows = Vec::new();
    for batch in reader {
        rows.append(&mut batch_rows(&batch.map_err(|error| unreadable(&error))?, path)?);
    }
    Ok(rows)
}

/// Reads the rows of a batch. Columns are cast, because writers choose different number widths, text types and
/// dictionaries.
fn batch_rows(batch: &RecordBatch, path: &Path) -> Result<Vec<RawRow>> {
    let column = |name: &str, to: &DataType| -> Result<ArrayRef> {
        let column = batch.column_by_name(name).ok_or_else(|| bad(path, format!("there is no column `{name}`")))?;
        cast(column, to).map_err(|error| bad(path, format!("column `{name}`: {error}")))
    };
    let optional = |name: &str, to: &DataType| batch.column_by_name(name).map(|_| column(name, to)).transpose();
    let list = |item| DataType::List(Field::new_list_field(item, true).into());
    let ids = column("id", &DataType::Utf8)?;
    let ids = ids.as_string::<i32>();
    let predictions = column("prediction", &list(DataType::Utf8))?;
    let predictions = predictions.as_list::<i32>();
    let stages = optional("stage", &DataType::Int64)?;
    let scores = optional("scores", &list(DataType::Float32))?;
    let name = |text: Option<&str>| NameOrId::Name(text.unwrap_or_default().to_owned());
    let row = |row: usize| RawRow {
        stage: stages.as_ref().filter(|all| all.is_valid(row)).map(|all| all.as_primitive::<Int64Type>().value(row)),
        id: ids.value(row).to_owned(),
        prediction: OneOrMany::Many(predictions.value(row).as_string::<i32>().iter().map(name).collect()),
        scores: scores
            .as_ref()
            .filter(|all| all.is_valid(row))
            .map(|all| all.as_list::<i32>().value(row).as_primitive::<Float32Type>().iter().collect()),
    };
    Ok((0..batch.num_rows()).map(row).collect())
}
