//! Reads label ids from stored rows and turns them into names.

use crate::run::predictions::PredictionRow;
use crate::run::record::DatasetRecord;

/// Chooses which label ids of a row to read: the gold ones, or one set of predictions.
pub(super) type LabelsOf = fn(&PredictionRow) -> &Vec<u32>;

/// Returns the label of a relation row, or an id that names no label if the row has none.
pub(super) fn label(labels: &[u32]) -> u32 {
    labels.first().copied().unwrap_or(u32::MAX)
}

/// Returns the tag names of sentences, `O` for ids that name nothing.
pub(super) fn tags<'a>(dataset: &'a DatasetRecord, rows: &[PredictionRow], labels: LabelsOf) -> Vec<Vec<&'a str>> {
    let name = |id: &u32| dataset.labels.get(*id as usize).map_or("O", String::as_str);
    rows.iter().map(|row| labels(row).iter().map(name).collect()).collect()
}
