//! A small benchmark and its rows for the tests of this folder.

use mkgc_builder::corpus::Extraction;

use crate::run::predictions::PredictionRow;
use crate::run::record::{DatasetRecord, TaskRecord};

/// Returns a benchmark with the relations `a`, `b` and `c`, one per task.
pub(crate) fn relations() -> DatasetRecord {
    let task = |name: &str| TaskRecord { name: name.to_owned(), classes: vec![name.to_owned()] };
    DatasetRecord {
        name: "small".to_owned(),
        task: Extraction::Relations,
        fingerprint: "0".to_owned(),
        labels: ["None", "a", "b", "c"].map(str::to_owned).to_vec(),
        tasks: ["a", "b", "c"].map(task).to_vec(),
    }
}

/// Returns a row without scores.
pub(crate) fn row(gold: &[u32], predicted: &[u32]) -> PredictionRow {
    PredictionRow { gold: gold.to_vec(), predicted: predicted.to_vec(), ..PredictionRow::default() }
}
