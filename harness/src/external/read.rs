//! Files of predictions: Parquet, JSON lines or CSV with the columns `stage` (not needed where the stage is given with
//! the file), `id`, `prediction` and, optionally, `scores`. Labels are names or ids; in CSV, several stand in one field
//! with spaces between.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Float32Type, Int64Type};
use mkgc_builder::corpus::TaskKind;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use polars::prelude::{CsvReadOptions, SerReader};
use serde::Deserialize;

use crate::error::{Error, Result};

/// A file, and its stage if it holds that one alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// 0-based stage of all its rows.
    pub stage: Option<usize>,
    /// The file.
    pub path: PathBuf,
}

impl FromStr for Source {
    type Err = std::convert::Infallible;

    /// `FILE` or `STAGE=FILE`.
    fn from_str(text: &str) -> std::result::Result<Self, Self::Err> {
        let given = text.split_once('=').and_then(|(stage, path)| Some((stage.parse().ok()?, path)));
        Ok(given.map_or_else(
            || Self { stage: None, path: text.into() },
            |(stage, path)| Self { stage: Some(stage), path: path.into() },
        ))
    }
}

/// A row as it stands in a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Given {
    /// 0-based stage.
    pub stage: usize,
    /// Id of the test row.
    pub id: String,
    /// Names or ids of labels.
    pub prediction: Vec<String>,
    /// Scores by label id; minus infinity where there is none.
    pub scores: Vec<f32>,
}

/// A row before its stage is known.
#[derive(Deserialize)]
struct Line {
    stage: Option<i64>,
    id: String,
    prediction: Labels,
    #[serde(default)]
    scores: Option<Vec<Option<f32>>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Labels {
    One(Label),
    Many(Vec<Label>),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Label {
    Name(String),
    Id(i64),
}

impl From<Label> for String {
    fn from(label: Label) -> Self {
        match label {
            Label::Name(name) => name,
            Label::Id(id) => id.to_string(),
        }
    }
}

/// Reads a file.
pub fn read(source: &Source, kind: TaskKind) -> Result<Vec<Given>> {
    let path = source.path.as_path();
    let lines = match path.extension().and_then(|extension| extension.to_str()) {
        Some("parquet") => parquet(path)?,
        Some("jsonl") => jsonl(path)?,
        Some("csv") => csv(path, kind)?,
        _ => return Err(bad(path, "is none of .parquet, .jsonl and .csv")),
    };
    lines.into_iter().map(|line| given(line, source)).collect()
}

fn bad(path: &Path, reason: impl std::fmt::Display) -> Error {
    Error::Usage(format!("{}: {reason}", path.display()))
}

fn given(line: Line, source: &Source) -> Result<Given> {
    let id = &line.id;
    let named = line.stage.map(|stage| {
        usize::try_from(stage).map_err(|_| bad(&source.path, format!("row {id}: stage {stage}: stages begin at 0")))
    });
    let stage = match (named.transpose()?, source.stage) {
        (Some(named), Some(stage)) if named != stage => {
            return Err(bad(
                &source.path,
                format!("row {id} is of stage {named}, the file was given as stage {stage}"),
            ));
        }
        (Some(stage), _) | (None, Some(stage)) => stage,
        (None, None) => {
            let remedy = "add the column `stage`, or give the file as that of a stage: --predictions 0=FILE";
            return Err(bad(&source.path, format!("row {id} has no stage; {remedy}")));
        }
    };
    let prediction = match line.prediction {
        Labels::One(label) => vec![label.into()],
        Labels::Many(labels) => labels.into_iter().map(Into::into).collect(),
    };
    let scores = line.scores.unwrap_or_default().into_iter().map(|score| score.unwrap_or(f32::NEG_INFINITY)).collect();
    Ok(Given { stage, id: line.id, prediction, scores })
}

fn jsonl(path: &Path) -> Result<Vec<Line>> {
    let text = fs_err::read_to_string(path)?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(i, line)| serde_json::from_str(line).map_err(|error| bad(path, format!("line {}: {error}", i + 1))))
        .collect()
}

fn csv(path: &Path, kind: TaskKind) -> Result<Vec<Line>> {
    // No type is guessed: every column is text.
    let options = CsvReadOptions::default().with_infer_schema_length(Some(0));
    let frame = options.try_into_reader_with_file_path(Some(path.to_owned())).and_then(SerReader::finish);
    let frame = frame.map_err(|error| bad(path, error))?;
    let column = |name: &str| -> Result<Vec<Option<String>>> {
        let column = frame.column(name).map_err(|_| bad(path, format!("there is no column `{name}`")))?;
        Ok(column.str()?.iter().map(|text| text.map(str::to_owned)).collect())
    };
    let optional = |name| if frame.column(name).is_ok() { column(name) } else { Ok(vec![None; frame.height()]) };
    let (stages, ids, predictions, scores) =
        (optional("stage")?, column("id")?, column("prediction")?, optional("scores")?);
    let labels = |text: String| match kind {
        TaskKind::Re => Labels::One(Label::Name(text)),
        TaskKind::Ner => Labels::Many(text.split_whitespace().map(|tag| Label::Name(tag.to_owned())).collect()),
    };
    let rows = stages.into_iter().zip(ids).zip(predictions.into_iter().zip(scores));
    rows.enumerate()
        .map(|(i, ((stage, id), (prediction, scores)))| {
            let wrong = |what: &str| bad(path, format!("row {} below the heading: {what}", i + 1));
            let scores = scores.map(|text| numbers(&text).ok_or_else(|| wrong("`scores` holds what is no number")));
            Ok(Line {
                stage: stage.map(|text| text.parse().map_err(|_| wrong("`stage` is no number"))).transpose()?,
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

/// What mkgc is built with.
const COMPRESSIONS: &str = "write Parquet compressed with snappy or zstd, or not at all";

fn parquet(path: &Path) -> Result<Vec<Line>> {
    let unreadable = |error: &dyn std::fmt::Display| bad(path, format!("{error}; {COMPRESSIONS}"));
    let file = fs_err::File::open(path)?.into_parts().0;
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).and_then(ParquetRecordBatchReaderBuilder::build);
    let reader = reader.map_err(|error| unreadable(&error))?;
    let mut lines = Vec::new();
    for batch in reader {
        lines.append(&mut batch_lines(&batch.map_err(|error| unreadable(&error))?, path)?);
    }
    Ok(lines)
}

/// Columns are cast: writers differ in the widths of numbers, in dictionaries and in kinds of text.
fn batch_lines(batch: &RecordBatch, path: &Path) -> Result<Vec<Line>> {
    let column = |name: &str, to: &DataType| -> Result<ArrayRef> {
        let column = batch.column_by_name(name).ok_or_else(|| bad(path, format!("there is no column `{name}`")))?;
        cast(column, to).map_err(|error| bad(path, format!("column `{name}`: {error}")))
    };
    let optional = |name: &str, to: &DataType| batch.column_by_name(name).map(|_| column(name, to)).transpose();
    let list = |item| DataType::List(Field::new_list_field(item, true).into());
    let (ids, predictions) = (column("id", &DataType::Utf8)?, column("prediction", &list(DataType::Utf8))?);
    let (stages, scores) = (optional("stage", &DataType::Int64)?, optional("scores", &list(DataType::Float32))?);
    let (ids, predictions) = (ids.as_string::<i32>(), predictions.as_list::<i32>());
    let name = |text: Option<&str>| Label::Name(text.unwrap_or_default().to_owned());
    let line = |row: usize| Line {
        stage: stages.as_ref().filter(|all| all.is_valid(row)).map(|all| all.as_primitive::<Int64Type>().value(row)),
        id: ids.value(row).to_owned(),
        prediction: Labels::Many(predictions.value(row).as_string::<i32>().iter().map(name).collect()),
        scores: scores
            .as_ref()
            .filter(|all| all.is_valid(row))
            .map(|all| all.as_list::<i32>().value(row).as_primitive::<Float32Type>().iter().collect()),
    };
    Ok((0..batch.num_rows()).map(line).collect())
}
