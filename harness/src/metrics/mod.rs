//! Metrics: pure functions of stored predictions. Nothing here is computed during training.
//!
//! A score is defined where the test has a gold item that it is about, whatever was predicted: methods are then compared
//! on the same classes and tasks, and a perfect predictor scores 1 wherever there is a score.

pub mod confusion;
pub mod continual;
pub mod formulas;
pub mod half;
pub mod masked;
pub mod relation;
pub mod score;
pub mod span;
pub mod stage;

use mkgc_builder::bio::OUTSIDE;
use serde::{Deserialize, Serialize};

use crate::run::predictions::PredictionRow;
use crate::run::record::DatasetRecord;
use continual::Value;

/// True positives, predicted and gold counts, and what follows from them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Correct predictions.
    pub correct: usize,
    /// All predictions.
    pub predicted: usize,
    /// All gold items (support).
    pub gold: usize,
}

impl Counts {
    /// Harmonic mean of precision and recall, `2 TP / (predicted + gold)`; 0 where both counts are 0
    /// (scikit-learn's `zero_division=0`).
    pub fn f1(self) -> f64 {
        ratio(2 * self.correct, self.predicted + self.gold)
    }

    /// F1 where there is a gold item, else `undefined: reason`.
    pub fn score(self, reason: impl FnOnce() -> String) -> Value {
        if self.gold == 0 { Value::undefined(&reason()) } else { Value::Number(self.f1()) }
    }

    /// Share of predictions that are correct.
    pub fn precision(self) -> f64 {
        ratio(self.correct, self.predicted)
    }

    /// Share of gold items found.
    pub fn recall(self) -> f64 {
        ratio(self.correct, self.gold)
    }
}

impl std::iter::Sum for Counts {
    fn sum<I: Iterator<Item = Self>>(counts: I) -> Self {
        counts.fold(Self::default(), |a, b| Self {
            correct: a.correct + b.correct,
            predicted: a.predicted + b.predicted,
            gold: a.gold + b.gold,
        })
    }
}

fn ratio(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// The label of a relation row; none of the labels where it has none.
fn label(labels: &[u32]) -> u32 {
    labels.first().copied().unwrap_or(u32::MAX)
}

/// Which label ids of a row: its gold ones, or some that were predicted.
type Labels = fn(&PredictionRow) -> &Vec<u32>;

/// Tag names of sentences; `O` for ids that name nothing.
fn tags<'a>(dataset: &'a DatasetRecord, rows: &[PredictionRow], of: Labels) -> Vec<Vec<&'a str>> {
    let name = |id: &u32| dataset.labels.get(*id as usize).map_or(OUTSIDE, String::as_str);
    rows.iter().map(|row| of(row).iter().map(name).collect()).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use mkgc_builder::corpus::TaskKind;

    use crate::run::predictions::PredictionRow;
    use crate::run::record::{DatasetRecord, TaskRecord};

    /// Relations `a`, `b`, `c`, one per task.
    pub(crate) fn relations() -> DatasetRecord {
        let task = |name: &str| TaskRecord { name: name.to_owned(), classes: vec![name.to_owned()] };
        DatasetRecord {
            name: "small".to_owned(),
            task: TaskKind::Re,
            fingerprint: "0".to_owned(),
            labels: ["None", "a", "b", "c"].map(str::to_owned).to_vec(),
            tasks: ["a", "b", "c"].map(task).to_vec(),
        }
    }

    /// A row without scores.
    pub(crate) fn row(gold: &[u32], predicted: &[u32]) -> PredictionRow {
        PredictionRow { gold: gold.to_vec(), predicted: predicted.to_vec(), ..PredictionRow::default() }
    }
}
