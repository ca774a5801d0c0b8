//! Scores of one test file: over all classes seen, of one task, and instance by instance.

use std::collections::BTreeMap;

use mkgc_builder::corpus::Extraction;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::confusion::{self, ConfusionCounts};
use super::counts::Counts;
use super::half::{self, Half};
use super::labels::{LabelsOf, label};
use super::masked::{self, Mask};
use super::metric::{Basis, Metric, PredictionSet, StageMetric, known};
use super::tally::{Tally, classes_seen, compare_relations, compare_spans, untested};
use super::value::{Entered, Value};
use crate::run::predictions::PredictionRow;
use crate::run::record::DatasetRecord;

/// Scores on the test file of one stage, over the classes seen.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StageScores {
    /// 1-based number of tasks learned.
    pub tasks_learned: usize,
    /// Test rows; 0 as well where an external run has no predictions.
    pub rows: usize,
    /// RE only: share of rows whose label is right, `None` included (strict: argmax over seen classes).
    #[serde(default)]
    pub accuracy: Value,
    /// F1 over all relations or entity types seen (RE without `None`).
    #[serde(default)]
    pub micro_f1: Value,
    /// Unweighted mean of the F1 of each relation or type seen that has a test row.
    #[serde(default)]
    pub macro_f1: Value,
    /// The same of the predictions a masked classifier makes, see `metrics/masked.rs`; since version 3.
    #[serde(default, deserialize_with = "known")]
    #[schemars(with = "BTreeMap<String, Value>")]
    pub masked: BTreeMap<Metric, Value>,
    /// What each half of a network of two streams scores alone, where its predictions are stored; since version 4.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default, deserialize_with = "known")]
    #[schemars(with = "BTreeMap<String, Value>")]
    pub halves: BTreeMap<Metric, Value>,
    /// Metrics of the stored predictions that have no column here. `result.json` holds them over all tasks alone.
    #[serde(skip)]
    pub unnamed: BTreeMap<Metric, Value>,
    /// F1 of each relation or type seen; since version 4 undefined for one without a test row.
    pub f1_by_class: BTreeMap<String, Value>,
    /// Number of gold items of each class.
    pub support_by_class: BTreeMap<String, usize>,
    /// Confusion between classes of earlier tasks and of this one, where there are predictions; since version 3.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub confusion: Option<ConfusionCounts>,
}

impl StageScores {
    /// Returns the scores after learning tasks `0..=stage` if there are no predictions.
    pub fn unscored(stage: usize) -> Self {
        let none = || Value::unscored(stage + 1);
        Self { tasks_learned: stage + 1, accuracy: none(), micro_f1: none(), macro_f1: none(), ..Self::default() }
    }

    /// Returns the value of a metric.
    pub fn get(&self, metric: StageMetric) -> Value {
        if !self.predicted() {
            return Value::unscored(self.tasks_learned);
        }
        let stored = match metric {
            StageMetric::MicroF1 => Some(&self.micro_f1),
            StageMetric::MacroF1 => Some(&self.macro_f1),
            StageMetric::Accuracy => Some(&self.accuracy),
            _ => [&self.masked, &self.halves, &self.unnamed].into_iter().find_map(|values| values.get(metric.key())),
        };
        match stored {
            Some(value) => value.clone(),
            None if self.rows == 0 => Value::undefined(&untested(self.tasks_learned)),
            None if metric.half().is_some() => half::missing(),
            None => Value::default(),
        }
    }

    /// Returns how many classes a metric is a mean of, if it is one.
    pub fn entered(&self, metric: StageMetric) -> Option<Entered> {
        let tested = self.support_by_class.values().filter(|support| **support > 0).count();
        let n = if self.get(metric).number().is_some() { tested } else { 0 };
        (metric.basis() == Basis::Classes).then_some(Entered { n, of: self.support_by_class.len() })
    }

    /// Tells whether there are predictions but the test lacks what the metric is about.
    pub(super) fn without_items(&self, metric: StageMetric) -> bool {
        let items: usize = match metric.basis() {
            Basis::Rows => self.rows,
            Basis::Items | Basis::Classes => self.support_by_class.values().sum(),
        };
        self.predicted() && items == 0
    }

    /// Tells whether there are predictions, be it of a test file without rows.
    fn predicted(&self) -> bool {
        self.rows > 0 || self.confusion.is_some()
    }
}

/// Scores one test file after learning tasks `0..=stage`.
pub fn score(dataset: &DatasetRecord, stage: usize, rows: &[PredictionRow]) -> StageScores {
    let stored = Tally::new(dataset, stage, rows, |row| &row.predicted);
    let classes = || classes_seen(dataset, stage).into_iter().map(str::to_owned);
    StageScores {
        tasks_learned: stage + 1,
        rows: rows.len(),
        accuracy: StageMetric::Accuracy.compute(&stored),
        micro_f1: StageMetric::MicroF1.compute(&stored),
        macro_f1: StageMetric::MacroF1.compute(&stored),
        masked: masked_scores(dataset, stage, rows),
        halves: half_scores(dataset, stage, rows),
        unnamed: scores_of(PredictionSet::Stored, &stored).filter(|(metric, _)| !NAMED.contains(metric)).collect(),
        f1_by_class: classes().zip(stored.by_class().iter().cloned()).collect(),
        support_by_class: classes().zip(stored.support()).collect(),
        confusion: Some(confusion::count(dataset, stage, rows)),
    }
}

/// Metrics that have a field of their own in [`StageScores`].
const NAMED: [Metric; 3] =
    [Metric::Stage(StageMetric::MicroF1), Metric::Stage(StageMetric::MacroF1), Metric::Stage(StageMetric::Accuracy)];

/// Computes every metric of one set of predictions.
fn scores_of(predictions: PredictionSet, tally: &Tally) -> impl Iterator<Item = (Metric, Value)> {
    StageMetric::of_predictions(predictions).map(|metric| (Metric::Stage(metric), metric.compute(tally)))
}

fn masked_scores(dataset: &DatasetRecord, stage: usize, rows: &[PredictionRow]) -> BTreeMap<Metric, Value> {
    let mut values = BTreeMap::new();
    for mask in Mask::ALL {
        let set = PredictionSet::Masked(mask);
        match masked::predict(mask, dataset, stage, rows) {
            Ok(labels) => {
                values.extend(scores_of(set, &Tally::of_relations(dataset, stage, rows, labels.into_iter())));
            }
            Err(reason) => {
                let undefined = |metric| (Metric::Stage(metric), Value::undefined(reason));
                values.extend(StageMetric::of_predictions(set).map(undefined));
            }
        }
    }
    values
}

fn half_scores(dataset: &DatasetRecord, stage: usize, rows: &[PredictionRow]) -> BTreeMap<Metric, Value> {
    let mut values = BTreeMap::new();
    for half in Half::ALL.into_iter().filter(|half| half.stored(rows)) {
        values.extend(scores_of(PredictionSet::Half(half), &Tally::new(dataset, stage, rows, half.labels())));
    }
    values
}

/// Returns `R[i][j]` for task `j`, given the test rows after task `i`.
pub fn task(dataset: &DatasetRecord, task: usize, rows: &[PredictionRow]) -> Value {
    task_score(dataset, task, rows, |row| &row.predicted)
}

/// Returns `R[i][j]` of the label ids that `labels` chooses.
pub(super) fn task_score(dataset: &DatasetRecord, task: usize, rows: &[PredictionRow], labels: LabelsOf) -> Value {
    match dataset.task {
        Extraction::Relations => {
            let own: Vec<&PredictionRow> = rows.iter().filter(|row| row.owner == Some(task)).collect();
            let all = classes_seen(dataset, dataset.tasks.len() - 1);
            let predicted = own.iter().map(|row| label(labels(row)));
            let scores = compare_relations(dataset, &all, own.iter().copied(), predicted);
            scores.micro.score(|| match own.is_empty() {
                true => format!("no test rows of task {}", task + 1),
                false => format!("no relation in the test rows of task {}", task + 1),
            })
        }
        Extraction::Entities => {
            let own: Vec<&str> = dataset.tasks[task].classes.iter().map(String::as_str).collect();
            let micro: Counts = compare_spans(dataset, &own, rows, labels).into_iter().sum();
            micro.score(|| format!("no entity of task {} in the test file", task + 1))
        }
    }
}

/// Returns the counts of each row; their sum over the rows gives the micro-F1 after task `stage`.
pub fn instances(dataset: &DatasetRecord, stage: usize, rows: &[PredictionRow]) -> Vec<Counts> {
    let classes = classes_seen(dataset, stage);
    let counts = |row: &PredictionRow| {
        let row = std::slice::from_ref(row);
        match dataset.task {
            Extraction::Relations => {
                let predicted = row.iter().map(|row| label(&row.predicted));
                compare_relations(dataset, &classes, row, predicted).micro
            }
            Extraction::Entities => compare_spans(dataset, &classes, row, |row| &row.predicted).into_iter().sum(),
        }
    };
    rows.iter().map(counts).collect()
}
