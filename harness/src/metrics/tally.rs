//! Compares one set of predictions of a test file with its gold labels; the metrics of a test file are functions of that.

use mkgc_builder::corpus::Extraction;

use super::counts::Counts;
use super::labels::{LabelsOf, label, tags};
use super::relation::{self, RelationScores};
use super::span;
use super::value::{Mean, Value};
use crate::run::predictions::PredictionRow;
use crate::run::record::DatasetRecord;

/// One set of predictions of a test file, compared with its gold labels over the classes seen.
pub struct Tally {
    /// Share of rows whose label is right; undefined for entities.
    accuracy: Value,
    /// Counts of each class, in the order of the tasks.
    counts: Vec<Counts>,
    /// F1 of each class, undefined for a class without a gold item.
    by_class: Vec<Value>,
    /// Why F1 is undefined if the test file has no gold item of any class.
    untested: String,
}

/// Returns the share of rows whose label is right.
pub fn accuracy(tally: &Tally) -> Value {
    tally.accuracy.clone()
}

/// Returns F1 over the items of all classes, `2 TP / (predicted + gold)`.
pub fn micro_f1(tally: &Tally) -> Value {
    tally.counts.iter().copied().sum::<Counts>().score(|| tally.untested.clone())
}

/// Returns the unweighted mean of the F1 of each class that has a gold item.
pub fn macro_f1(tally: &Tally) -> Value {
    if tally.support().all(|gold| gold == 0) { micro_f1(tally) } else { Mean::over(&tally.by_class).value }
}

impl Tally {
    /// Compares the labels that `labels` chooses with the gold ones after learning tasks `0..=stage`.
    pub(super) fn new(dataset: &DatasetRecord, stage: usize, rows: &[PredictionRow], labels: LabelsOf) -> Self {
        match dataset.task {
            Extraction::Relations => {
                Self::of_relations(dataset, stage, rows, rows.iter().map(|row| label(labels(row))))
            }
            Extraction::Entities => {
                let accuracy = Value::undefined("most words of any sentence are O; spans are what counts");
                let counts = compare_spans(dataset, &classes_seen(dataset, stage), rows, labels);
                Self::from_counts(dataset, stage, accuracy, counts, rows.is_empty())
            }
        }
    }

    /// Compares relation labels, given for each row in `predicted`, with the gold ones after learning tasks `0..=stage`.
    pub(super) fn of_relations(
        dataset: &DatasetRecord,
        stage: usize,
        rows: &[PredictionRow],
        predicted: impl Iterator<Item = u32>,
    ) -> Self {
        let scores = compare_relations(dataset, &classes_seen(dataset, stage), rows, predicted);
        let number = || Value::Number(scores.accuracy);
        let accuracy = if rows.is_empty() { Value::undefined(&untested(stage + 1)) } else { number() };
        Self::from_counts(dataset, stage, accuracy, scores.per_class, rows.is_empty())
    }

    fn from_counts(dataset: &DatasetRecord, stage: usize, accuracy: Value, counts: Vec<Counts>, empty: bool) -> Self {
        let item = if dataset.task == Extraction::Relations { "row" } else { "entity" };
        let class =
            |(class, counts): (&str, &Counts)| counts.score(|| format!("no {item} of class {class} in the test file"));
        let untested = match empty {
            true => untested(stage + 1),
            false => format!("no {item} of a class seen in the test file after task {}", stage + 1),
        };
        let by_class = classes_seen(dataset, stage).into_iter().zip(&counts).map(class).collect();
        Self { accuracy, counts, by_class, untested }
    }

    /// Returns the F1 of each class, in the order of the tasks.
    pub fn by_class(&self) -> &[Value] {
        &self.by_class
    }

    /// Returns the number of gold items of each class, in the order of the tasks.
    pub fn support(&self) -> impl Iterator<Item = usize> {
        self.counts.iter().map(|counts| counts.gold)
    }
}

/// Says why there is no score after `tasks` tasks if the test file has no rows.
pub(super) fn untested(tasks: usize) -> String {
    format!("no test rows after task {tasks}")
}

/// Returns the classes of tasks `0..=stage`, in the order of the tasks.
pub(super) fn classes_seen(dataset: &DatasetRecord, stage: usize) -> Vec<&str> {
    dataset.tasks[..=stage].iter().flat_map(|task| &task.classes).map(String::as_str).collect()
}

/// Compares one predicted label id per row with the gold one; only the relations in `classes` count.
pub(super) fn compare_relations<'a>(
    dataset: &DatasetRecord,
    classes: &[&str],
    rows: impl IntoIterator<Item = &'a PredictionRow>,
    predicted: impl Iterator<Item = u32>,
) -> RelationScores {
    // A class without a label gets an id that no row has.
    let label_id = |class: &&str| dataset.labels.iter().position(|label| label == class);
    let ids: Vec<u32> = classes.iter().map(|class| label_id(class).unwrap_or(dataset.labels.len()) as u32).collect();
    let gold: Vec<u32> = rows.into_iter().map(|row| label(&row.gold)).collect();
    relation::score(&gold, &predicted.collect::<Vec<_>>(), &ids)
}

/// Compares the spans of the tags that `labels` chooses with the gold ones, for each of `types`.
pub(super) fn compare_spans(
    dataset: &DatasetRecord,
    types: &[&str],
    rows: &[PredictionRow],
    labels: LabelsOf,
) -> Vec<Counts> {
    span::score(&tags(dataset, rows, |row| &row.gold), &tags(dataset, rows, labels), types).per_type
}
