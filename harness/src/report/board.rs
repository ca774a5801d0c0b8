//! A board: everything that reports show of the runs on one benchmark, computed once, written by every format.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::metrics::continual::{Entered, Matrix, Value};
use crate::run::log::Line;
use crate::run::record::{RunRecord, TaskRecord};
use mkgc_builder::corpus::TaskKind;

/// All entries of one benchmark that may stand in one table.
#[derive(Debug, Clone, Serialize)]
pub struct Board {
    /// Protocol name.
    pub benchmark: String,
    /// RE or NER.
    pub task: TaskKind,
    /// Content fingerprint of the data.
    pub fingerprint: String,
    /// The stream, in its order.
    pub tasks: Vec<TaskRecord>,
    /// What is measured, main metric first.
    pub metrics: Vec<MetricInfo>,
    /// Best first by the main metric after the last task; ties by the order of methods.
    pub entries: Vec<Entry>,
    /// Entries that saw generated pictures in place of the corpus's own, in the same order: neither ranked nor tested.
    pub apart: Vec<Entry>,
    /// Paired tests between all of `entries`.
    pub comparisons: Vec<Comparison>,
    /// Runs without a result and gaps in the seeds.
    pub absent: Vec<Absent>,
}

impl Board {
    /// Every entry, ranked or not.
    pub fn all(&self) -> impl Iterator<Item = &Entry> + Clone {
        self.entries.iter().chain(&self.apart)
    }
}

/// A metric of a board. Values are shares (0 to 1).
#[derive(Debug, Clone, Serialize)]
pub struct MetricInfo {
    /// Key, e.g. `micro_f1` or `forgetting_chaudhry18`.
    pub name: String,
    /// For people.
    pub title: String,
    /// The formula and its source.
    pub formula: String,
    /// Whether more is better.
    pub higher_is_better: bool,
    /// Whether there is a value per stage (else one per run).
    pub per_stage: bool,
}

/// A number over the seeds of an entry.
#[derive(Debug, Clone, Serialize)]
pub struct Estimate {
    /// Mean over seeds, or `undefined: reason`.
    pub mean: Value,
    /// Value of each seed, in the order of [`Entry::seeds`].
    pub by_seed: Vec<Option<f64>>,
    /// 95 % interval over seeds (Student's t); from two seeds on.
    pub seed_interval: Option<[f64; 2]>,
    /// 95 % interval over test instances (percentile bootstrap, instances paired between entries), where it is computed.
    pub sampling_interval: Option<[f64; 2]>,
    /// Test instances behind it.
    pub instances: usize,
    /// Of a mean over classes, tasks or stages, how many of them have test rows and so entered.
    pub entered: Option<Entered>,
}

/// The runs of one method and variant: a row.
#[derive(Debug, Clone, Serialize)]
pub struct Entry {
    /// [`RunRecord::label`].
    pub label: String,
    /// Method name, or the name given to `mkgc score`.
    pub method: String,
    /// 1 + the number of entries that are significantly better; equal ranks cannot be told apart. None for entries apart.
    pub rank: Option<usize>,
    /// Training seeds, ascending.
    pub seeds: Vec<u64>,
    /// Metrics per stage by name.
    pub stages: BTreeMap<String, Vec<Estimate>>,
    /// Metrics of the whole run by name.
    pub summary: BTreeMap<String, Estimate>,
    /// Mean over seeds of `R[i][j]`, `j <= i`.
    pub matrix: Matrix,
    /// Per class, in the order of the tasks.
    pub classes: Vec<ClassRow>,
    /// Shares of test items after the last task.
    pub confusion: Confusion,
    /// Its runs, by seed.
    pub runs: Vec<RunCard>,
}

/// F1 of a class over the stages.
#[derive(Debug, Clone, Serialize)]
pub struct ClassRow {
    /// Its name.
    pub class: String,
    /// 0-based task that introduces it.
    pub task: usize,
    /// Gold items in the last test.
    pub support: usize,
    /// Mean over seeds of the F1 per stage; undefined before the class is seen.
    pub f1: Vec<Value>,
}

/// Where gold items of classes learned before the last task (old) and in it (new) go; shares of no item are undefined.
#[derive(Debug, Clone, Serialize)]
pub struct Confusion {
    /// Gold old: right, another old class, a new class, none.
    pub old: [Value; 4],
    /// Gold new: right, an old class, another new class, none.
    pub new: [Value; 4],
    /// Gold none: predicted none, an old class, a new class. NER: predicted spans whose words are no gold span.
    pub none: [Value; 3],
    /// Items behind the three (of the last seed).
    pub items: [usize; 3],
}

/// Where a number comes from.
#[derive(Debug, Clone, Serialize)]
pub struct RunCard {
    /// The run's folder, as given.
    pub folder: String,
    /// Its `run.json`.
    pub record: RunRecord,
    /// Its `metrics.jsonl`.
    pub curve: Vec<Line>,
}

/// A paired permutation test of the main metric after the last task.
#[derive(Debug, Clone, Serialize)]
pub struct Comparison {
    /// Index of an entry.
    pub one: usize,
    /// Index of another.
    pub other: usize,
    /// Metric of `one` minus that of `other`.
    pub difference: f64,
    /// Two-sided.
    pub p: f64,
    /// After Holm's correction over all pairs of the board.
    pub p_holm: f64,
}

/// A run or seed that gives no number, and why.
#[derive(Debug, Clone, Serialize)]
pub struct Absent {
    /// Label of the method.
    pub label: String,
    /// Its seed, if known.
    pub seed: Option<u64>,
    /// `failed`, `unfinished`, `duplicate` or `missing`.
    pub kind: String,
    /// What happened, in words.
    pub cause: String,
    /// The run's folder.
    pub folder: Option<String>,
    /// Where to read more.
    pub log: Option<String>,
}
