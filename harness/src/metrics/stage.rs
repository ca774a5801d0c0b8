//! Scores of one test file: over all classes seen, of one task, and instance by instance.

use std::collections::BTreeMap;

use mkgc_builder::corpus::TaskKind;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::confusion::{self, ConfusionCounts};
use super::continual::{Entered, Mean, Value, unscored};
use super::half::{self, Half};
use super::masked::{self, Mask};
use super::{Counts, Labels, label, relation, span, tags};
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
    /// The same of the predictions a masked classifier makes, see `formulas.rs`; since version 3.
    #[serde(default)]
    pub masked: BTreeMap<String, Value>,
    /// What each half of a network of two streams scores alone, where its predictions are stored; since version 4.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub halves: BTreeMap<String, Value>,
    /// F1 of each relation or type seen; since version 4 undefined for one without a test row.
    pub f1_by_class: BTreeMap<String, Value>,
    /// Gold items of each.
    pub support_by_class: BTreeMap<String, usize>,
    /// Confusion between classes of earlier tasks and of this one, where there are predictions; since version 3.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub confusion: Option<ConfusionCounts>,
}

impl StageScores {
    /// Those of a stage without predictions.
    pub fn unscored(stage: usize) -> Self {
        let none = || unscored(stage + 1);
        Self { tasks_learned: stage + 1, accuracy: none(), micro_f1: none(), macro_f1: none(), ..Self::default() }
    }

    /// A metric of [`super::formulas::STAGE`] by name.
    pub fn get(&self, name: &str) -> Value {
        match name {
            _ if !self.predicted() => unscored(self.tasks_learned),
            "micro_f1" => self.micro_f1.clone(),
            "macro_f1" => self.macro_f1.clone(),
            "accuracy" => self.accuracy.clone(),
            name if self.masked.contains_key(name) => self.masked[name].clone(),
            name if self.halves.contains_key(name) => self.halves[name].clone(),
            _ if self.rows == 0 => Value::undefined(&untested(self.tasks_learned)),
            name if half::of_half(name) => half::missing(),
            _ => Value::default(),
        }
    }

    /// How many classes a metric is a mean of, if it is one.
    pub fn entered(&self, name: &str) -> Option<Entered> {
        let tested = self.support_by_class.values().filter(|support| **support > 0).count();
        let n = if self.get(name).number().is_some() { tested } else { 0 };
        name.ends_with("macro_f1").then_some(Entered { n, of: self.support_by_class.len() })
    }

    /// Does the test lack what a metric is about: rows, for F1 rows of the classes seen?
    pub(super) fn without_items(&self, name: &str) -> bool {
        let missing = if name.ends_with("accuracy") { self.rows } else { self.support_by_class.values().sum() };
        self.predicted() && missing == 0
    }

    /// Are there predictions? The test may have no rows all the same.
    fn predicted(&self) -> bool {
        self.rows > 0 || self.confusion.is_some()
    }
}

/// Why there is no score after so many tasks: nothing is to be predicted.
fn untested(tasks: usize) -> String {
    format!("no test rows after task {tasks}")
}

/// What one test file says after learning tasks `0..=stage`.
pub fn score(dataset: &DatasetRecord, stage: usize, rows: &[PredictionRow]) -> StageScores {
    let strict = Scores::new(dataset, stage, rows, |row| &row.predicted);
    let classes = || seen(dataset, stage).into_iter().map(str::to_owned);
    StageScores {
        tasks_learned: stage + 1,
        rows: rows.len(),
        accuracy: strict.accuracy,
        micro_f1: strict.micro_f1,
        macro_f1: strict.macro_f1,
        masked: masked_scores(dataset, stage, rows),
        halves: half_scores(dataset, stage, rows),
        f1_by_class: classes().zip(strict.by_class).collect(),
        support_by_class: classes().zip(strict.support).collect(),
        confusion: Some(confusion::count(dataset, stage, rows)),
    }
}

/// What is said of one set of predictions.
struct Scores {
    accuracy: Value,
    micro_f1: Value,
    macro_f1: Value,
    /// F1 of each class seen.
    by_class: Vec<Value>,
    /// Gold items of each.
    support: Vec<usize>,
}

impl Scores {
    fn new(dataset: &DatasetRecord, stage: usize, rows: &[PredictionRow], of: Labels) -> Self {
        match dataset.task {
            TaskKind::Re => Self::of_relations(dataset, stage, rows, rows.iter().map(|row| label(of(row)))),
            TaskKind::Ner => {
                let accuracy = Value::undefined("most words of any sentence are O; spans are what counts");
                let counts = spans(dataset, &seen(dataset, stage), rows, of);
                Self::of_counts(dataset, stage, rows, accuracy, &counts)
            }
        }
    }

    fn of_relations(
        dataset: &DatasetRecord,
        stage: usize,
        rows: &[PredictionRow],
        predicted: impl Iterator<Item = u32>,
    ) -> Self {
        let scores = relations(dataset, &seen(dataset, stage), rows, predicted);
        let number = || Value::Number(scores.accuracy);
        let accuracy = if rows.is_empty() { Value::undefined(&untested(stage + 1)) } else { number() };
        Self::of_counts(dataset, stage, rows, accuracy, &scores.per_class)
    }

    fn of_counts(
        dataset: &DatasetRecord,
        stage: usize,
        rows: &[PredictionRow],
        accuracy: Value,
        counts: &[Counts],
    ) -> Self {
        let class = |(class, counts): (&str, &Counts)| {
            counts.score(|| format!("no {} of class {class} in the test file", item(dataset)))
        };
        let by_class: Vec<Value> = seen(dataset, stage).into_iter().zip(counts).map(class).collect();
        let micro: Counts = counts.iter().copied().sum();
        let micro_f1 = micro.score(|| match rows.is_empty() {
            true => untested(stage + 1),
            false => format!("no {} of a class seen in the test file after task {}", item(dataset), stage + 1),
        });
        let macro_f1 = if micro.gold == 0 { micro_f1.clone() } else { Mean::of(&by_class).value };
        let support = counts.iter().map(|counts| counts.gold).collect();
        Self { accuracy, micro_f1, macro_f1, by_class, support }
    }
}

/// What a benchmark has classes of.
fn item(dataset: &DatasetRecord) -> &'static str {
    if dataset.task == TaskKind::Re { "row" } else { "entity" }
}

fn masked_scores(dataset: &DatasetRecord, stage: usize, rows: &[PredictionRow]) -> BTreeMap<String, Value> {
    let mut values = BTreeMap::new();
    for mask in Mask::ALL {
        let scores = masked::predict(mask, dataset, stage, rows)
            .map(|labels| Scores::of_relations(dataset, stage, rows, labels.into_iter()));
        let mut insert = |name: &str, of: fn(&Scores) -> &Value| {
            let value = scores.as_ref().map_or_else(|reason| Value::undefined(reason), |scores| of(scores).clone());
            values.insert(format!("{}_{name}", mask.prefix()), value);
        };
        insert("micro_f1", |scores| &scores.micro_f1);
        insert("macro_f1", |scores| &scores.macro_f1);
        insert("accuracy", |scores| &scores.accuracy);
    }
    values
}

fn half_scores(dataset: &DatasetRecord, stage: usize, rows: &[PredictionRow]) -> BTreeMap<String, Value> {
    let of = |half: Half| (half.metric("micro_f1"), Scores::new(dataset, stage, rows, half.labels()).micro_f1);
    Half::ALL.into_iter().filter(|half| half.stored(rows)).map(of).collect()
}

/// `R[i][j]` for the rows of stage `i`.
pub fn task(dataset: &DatasetRecord, task: usize, rows: &[PredictionRow]) -> Value {
    task_of(dataset, task, rows, |row| &row.predicted)
}

/// `R[i][j]` of the label ids that `of` gives.
pub(super) fn task_of(dataset: &DatasetRecord, task: usize, rows: &[PredictionRow], of: Labels) -> Value {
    match dataset.task {
        TaskKind::Re => {
            let own: Vec<&PredictionRow> = rows.iter().filter(|row| row.owner == Some(task)).collect();
            let all = seen(dataset, dataset.tasks.len() - 1);
            let scores = relations(dataset, &all, own.iter().copied(), own.iter().map(|row| label(of(row))));
            scores.micro.score(|| match own.is_empty() {
                true => format!("no test rows of task {}", task + 1),
                false => format!("no relation in the test rows of task {}", task + 1),
            })
        }
        TaskKind::Ner => {
            let own: Vec<&str> = dataset.tasks[task].classes.iter().map(String::as_str).collect();
            let micro: Counts = spans(dataset, &own, rows, of).into_iter().sum();
            micro.score(|| format!("no entity of task {} in the test file", task + 1))
        }
    }
}

/// The counts of each row, whose sum over rows gives the stage's micro-F1.
pub fn instances(dataset: &DatasetRecord, stage: usize, rows: &[PredictionRow]) -> Vec<Counts> {
    let classes = seen(dataset, stage);
    let of = |row: &PredictionRow| {
        let row = std::slice::from_ref(row);
        match dataset.task {
            TaskKind::Re => relations(dataset, &classes, row, row.iter().map(|row| label(&row.predicted))).micro,
            TaskKind::Ner => spans(dataset, &classes, row, |row| &row.predicted).into_iter().sum(),
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
    rows: impl IntoIterator<Item = &'a PredictionRow>,
    predicted: impl Iterator<Item = u32>,
) -> relation::RelationScores {
    // A class that is no label has an id that no row has.
    let place = |class: &&str| dataset.labels.iter().position(|label| label == class);
    let ids: Vec<u32> = classes.iter().map(|class| place(class).unwrap_or(dataset.labels.len()) as u32).collect();
    let gold: Vec<u32> = rows.into_iter().map(|row| label(&row.gold)).collect();
    relation::score(&gold, &predicted.collect::<Vec<_>>(), &ids)
}

fn spans(dataset: &DatasetRecord, types: &[&str], rows: &[PredictionRow], of: Labels) -> Vec<Counts> {
    span::score(&tags(dataset, rows, |row| &row.gold), &tags(dataset, rows, of), types).per_type
}
