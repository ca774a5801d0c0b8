//! Scores of one test file: over all classes seen, of one task, and instance by instance.

use std::collections::BTreeMap;

use mkgc_builder::corpus::TaskKind;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::confusion::{self, ConfusionCounts};
use super::continual::Value;
use super::masked::{self, Mask};
use super::{Counts, label, relation, span, tags};
use crate::run::predictions::Predicted;
use crate::run::record::DatasetRecord;

/// Scores on the test file of one stage, over the classes seen.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StageScores {
    /// 1-based number of tasks learned.
    pub tasks_learned: usize,
    /// Test rows; 0 where an external run has no predictions, and then no score either.
    pub rows: usize,
    /// RE only: share of rows whose label is right, `None` included (strict: argmax over seen classes).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub accuracy: Option<f64>,
    /// F1 over all relations or entity types seen (RE without `None`).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub micro_f1: Option<f64>,
    /// Unweighted mean of the F1 of each relation or type seen.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub macro_f1: Option<f64>,
    /// The same of the predictions a masked classifier makes, see `formulas.rs`; since version 3.
    #[serde(default)]
    pub masked: BTreeMap<String, Value>,
    /// F1 of each relation or type seen.
    pub f1_by_class: BTreeMap<String, f64>,
    /// Gold items of each.
    pub support_by_class: BTreeMap<String, usize>,
    /// Confusion between classes of earlier tasks and of this one; since version 3.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub confusion: Option<ConfusionCounts>,
}

impl StageScores {
    /// A metric of [`super::formulas::STAGE`] by name.
    pub fn get(&self, name: &str) -> Value {
        let scored = |value: Option<f64>| value.map_or_else(|| unscored(self.tasks_learned), Value::Number);
        match name {
            _ if self.rows == 0 => unscored(self.tasks_learned),
            "micro_f1" => scored(self.micro_f1),
            "macro_f1" => scored(self.macro_f1),
            "accuracy" => self.accuracy.map_or_else(
                || Value::undefined("most words of any sentence are O; spans are what counts"),
                Value::Number,
            ),
            name => self.masked.get(name).cloned().unwrap_or_else(|| Value::undefined("not in this version's results")),
        }
    }
}

/// Why there is no score after so many tasks.
pub(super) fn unscored(tasks: usize) -> Value {
    Value::undefined(&format!("no predictions after task {tasks}"))
}

/// What one test file says after learning tasks `0..=stage`; no score without predictions.
pub fn score(dataset: &DatasetRecord, stage: usize, rows: &[Predicted]) -> StageScores {
    if rows.is_empty() {
        return StageScores { tasks_learned: stage + 1, ..StageScores::default() };
    }
    let classes = seen(dataset, stage);
    let (accuracy, micro, macro_f1, counts) = match dataset.task {
        TaskKind::Re => {
            let scores = relations(dataset, &classes, rows, rows.iter().map(|row| label(&row.predicted)));
            (Some(scores.accuracy), scores.micro, scores.macro_f1, scores.per_class)
        }
        TaskKind::Ner => {
            let scores = spans(dataset, &classes, rows);
            (None, scores.micro, scores.macro_f1, scores.per_type)
        }
    };
    let by_class = || classes.iter().map(|class| (*class).to_owned()).zip(counts.iter());
    StageScores {
        tasks_learned: stage + 1,
        rows: rows.len(),
        accuracy,
        micro_f1: Some(micro.f1()),
        macro_f1: Some(macro_f1),
        masked: masked_scores(dataset, stage, rows),
        f1_by_class: by_class().map(|(class, counts)| (class, counts.f1())).collect(),
        support_by_class: by_class().map(|(class, counts)| (class, counts.gold)).collect(),
        confusion: Some(confusion::count(dataset, stage, rows)),
    }
}

fn masked_scores(dataset: &DatasetRecord, stage: usize, rows: &[Predicted]) -> BTreeMap<String, Value> {
    let mut values = BTreeMap::new();
    for mask in Mask::ALL {
        let scores = masked::predict(mask, dataset, stage, rows)
            .map(|labels| relations(dataset, &seen(dataset, stage), rows, labels.into_iter()));
        let mut insert = |name: &str, of: fn(&relation::RelationScores) -> f64| {
            let value = match &scores {
                Ok(scores) => Value::Number(of(scores)),
                Err(reason) => Value::undefined(reason),
            };
            values.insert(format!("{}_{name}", mask.prefix()), value);
        };
        insert("micro_f1", |scores| scores.micro.f1());
        insert("macro_f1", |scores| scores.macro_f1);
        insert("accuracy", |scores| scores.accuracy);
    }
    values
}

/// `R[i][j]` for the rows of stage `i`.
pub fn task(dataset: &DatasetRecord, task: usize, rows: &[Predicted]) -> f64 {
    match dataset.task {
        TaskKind::Re => {
            let own: Vec<&Predicted> = rows.iter().filter(|row| row.owner == Some(task)).collect();
            let all = seen(dataset, dataset.tasks.len() - 1);
            relations(dataset, &all, own.iter().copied(), own.iter().map(|row| label(&row.predicted))).micro.f1()
        }
        TaskKind::Ner => {
            let own: Vec<&str> = dataset.tasks[task].classes.iter().map(String::as_str).collect();
            spans(dataset, &own, rows).micro.f1()
        }
    }
}

/// The counts of each row, whose sum over rows gives the stage's micro-F1.
pub fn instances(dataset: &DatasetRecord, stage: usize, rows: &[Predicted]) -> Vec<Counts> {
    let classes = seen(dataset, stage);
    let of = |row: &Predicted| {
        let row = std::slice::from_ref(row);
        match dataset.task {
            TaskKind::Re => relations(dataset, &classes, row, row.iter().map(|row| label(&row.predicted))).micro,
            TaskKind::Ner => spans(dataset, &classes, row).micro,
        }
    };
    rows.iter().map(of).collect()
}

fn seen(dataset: &DatasetRecord, stage: usize) -> Vec<&str> {
    dataset.tasks[..=stage].iter().flat_map(|task| &task.classes).map(String::as_str).collect()
}

fn relations<'a>(
    dataset: &DatasetRecord,
    classes: &[&str],
    rows: impl IntoIterator<Item = &'a Predicted>,
    predicted: impl Iterator<Item = u32>,
) -> relation::RelationScores {
    let id = |class: &&str| dataset.labels.iter().position(|label| label == class).map(|id| id as u32);
    let ids: Vec<u32> = classes.iter().filter_map(id).collect();
    let gold: Vec<u32> = rows.into_iter().map(|row| label(&row.gold)).collect();
    relation::score(&gold, &predicted.collect::<Vec<_>>(), &ids)
}

fn spans(dataset: &DatasetRecord, types: &[&str], rows: &[Predicted]) -> span::SpanScores {
    span::score(&tags(dataset, rows, |row| &row.gold), &tags(dataset, rows, |row| &row.predicted), types)
}
