//! Collects the rows of one file of predictions and reports those that cannot be read.

use std::fmt::Display;

use mkgc_builder::labels::LabelSet;

use super::cell::CellFault;
use super::columns::Cells;
use crate::external::file::PredictionFile;
use crate::external::problems::{Problems, RowPlace};

/// A row of a file of predictions, before it is compared with the benchmark.
#[derive(Debug, Clone, PartialEq)]
pub struct SubmittedRow {
    /// Where the row stands in its file, for messages.
    pub place: RowPlace,
    /// 0-based task after which the prediction was made.
    pub stage: usize,
    /// Id of the test row.
    pub id: String,
    /// Names or ids of labels; `None` if they cannot be read, which is reported.
    pub prediction: Option<Vec<String>>,
    /// Scores by label id, minus infinity where the file has none, and none at all if the row has none or if they cannot be
    /// read, which is reported.
    pub scores: Vec<f32>,
}

/// What could be read of a file.
#[derive(Debug)]
pub struct FileRows {
    /// The file as messages show it.
    pub name: String,
    /// Stage that the file was given as.
    pub stage: Option<usize>,
    /// The rows whose stage and id are known, in the order of the file.
    pub rows: Vec<SubmittedRow>,
    /// Whether every row has a known stage and id, so that missing rows can be told.
    pub complete: bool,
}

/// Collects the rows of one file, and reports what cannot be read as [`Problems`].
pub struct Collector<'a> {
    labels: &'a LabelSet,
    problems: &'a mut Problems,
    file: FileRows,
}

impl<'a> Collector<'a> {
    /// Makes the collector of a file.
    pub fn new(file: &PredictionFile, labels: &'a LabelSet, problems: &'a mut Problems) -> Self {
        let file = FileRows { name: file.name(), stage: file.stage, rows: Vec::new(), complete: true };
        Self { labels, problems, file }
    }

    /// Returns the rows collected, with the name of their file and whether they are complete.
    pub fn finish(self) -> FileRows {
        self.file
    }

    /// Returns whether the stage was given with the file.
    pub fn stage_given(&self) -> bool {
        self.file.stage.is_some()
    }

    /// Reports that the file cannot be read.
    pub fn unreadable(&mut self, reason: &str) {
        self.file.complete = false;
        self.problems.add_once(format!("{}: {reason}", self.file.name));
    }

    /// Reports a row that cannot be read. `kind` says what such rows have in common.
    pub fn damaged(&mut self, place: RowPlace, kind: &str, row: &str) {
        self.file.complete = false;
        self.report(place, kind, row);
    }

    /// Takes a row, or reports all that is wrong with it.
    pub fn add(&mut self, place: RowPlace, cells: &Cells) {
        let id = cells.id.id();
        // Faults of other cells are shown with the id, if there is one.
        let row = id.as_ref().map_or_else(|_| place.to_string(), |id| format!("{place}: {id}"));
        let id = self.checked(place, id);
        let stage = self.stage(&row, cells);
        let prediction = self.checked(&row, cells.prediction.labels(self.labels));
        let scores = self.checked(&row, cells.scores.scores()).unwrap_or_default();
        match (stage, id) {
            (Some(stage), Some(id)) => self.file.rows.push(SubmittedRow { place, stage, id, prediction, scores }),
            _ => self.file.complete = false,
        }
    }

    /// Returns the stage that a row or its file names.
    fn stage(&mut self, row: &str, cells: &Cells) -> Option<usize> {
        let named = self.checked(row, cells.stage.stage())?;
        match (named, self.file.stage) {
            (Some(named), Some(given)) if named != given => {
                let kind = format!("rows of another stage than {given}, as which the file was given");
                self.report(row, &kind, &format!("stage {named}"));
                None
            }
            (None, None) => {
                self.report(row, "rows without a stage", "nothing in the column `stage`");
                None
            }
            (named, given) => named.or(given),
        }
    }

    fn checked<T>(&mut self, row: impl Display, value: Result<T, CellFault>) -> Option<T> {
        value.map_err(|fault| self.report(row, &fault.kind, &fault.cell)).ok()
    }

    fn report(&mut self, row: impl Display, kind: &str, example: &str) {
        self.problems.add(format!("{}: {kind}", self.file.name), || format!("{row}: {example}"));
    }
}
