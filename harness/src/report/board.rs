//! A board holds everything that a report shows of the runs on one benchmark. It is computed once, and every format prints
//! it.

use std::collections::BTreeMap;
use std::fmt;

use mkgc_builder::corpus::Extraction;
use polars::prelude::DataFrame;
use serde::Serialize;

use crate::metrics::Metric;
use crate::metrics::continual::Matrix;
use crate::metrics::value::{Entered, Value};
use crate::run::log::Line;
use crate::run::record::{RunRecord, TaskRecord};

/// All entries of one benchmark that may be compared with each other.
#[derive(Debug, Clone, Serialize)]
pub struct Board {
    /// Name of the benchmark, which is that of its protocol, e.g. `mnre-10`.
    pub benchmark: String,
    /// Whether relations or entities are extracted.
    pub task: Extraction,
    /// Content fingerprint of the benchmark.
    pub fingerprint: String,
    /// The tasks, in the order in which they are learned.
    pub tasks: Vec<TaskRecord>,
    /// Every metric, the main one first.
    pub metrics: Vec<MetricInfo>,
    /// Ranked entries, best first by the main metric after the last task. Ties are in the order of methods.
    pub entries: Vec<Entry>,
    /// Entries that saw generated pictures in place of the corpus's own, in the same order. They are neither ranked nor
    /// tested.
    pub apart: Vec<Entry>,
    /// Paired tests between all `entries`.
    pub comparisons: Vec<Comparison>,
    /// Runs without a result, and gaps in the seeds.
    pub absent: Vec<Absent>,
    /// The long frame of scores, one row per metric, task and run; the estimates of the entries are group-bys of it.
    #[serde(skip)]
    pub scores: DataFrame,
}

impl Board {
    /// Returns every entry, the ranked ones first.
    pub fn all(&self) -> impl Iterator<Item = &Entry> + Clone {
        self.entries.iter().chain(&self.apart)
    }
}

/// What a board says of a metric.
#[derive(Debug, Clone, Serialize)]
pub struct MetricInfo {
    /// The metric, written as its key, e.g. `micro_f1` or `forgetting_chaudhry18`.
    #[serde(rename = "name")]
    pub metric: Metric,
    /// Title for people, e.g. `Micro-F1 without None`.
    pub title: String,
    /// The formula and its source.
    pub formula: String,
    /// Whether a higher value is better, as for F1, or a lower one, as for forgetting.
    pub higher_is_better: bool,
    /// Whether there is a value after each task, rather than one per run.
    pub per_stage: bool,
}

impl MetricInfo {
    /// Describes a metric of relation or entity extraction.
    pub fn new(metric: Metric, task: Extraction) -> Self {
        Self {
            metric,
            title: metric.title(task),
            formula: metric.formula(),
            higher_is_better: metric.higher_is_better(),
            per_stage: matches!(metric, Metric::Stage(_)),
        }
    }
}

/// A metric of an entry over its seeds.
#[derive(Debug, Clone, Serialize)]
pub struct Estimate {
    /// The mean over the seeds, or `undefined: reason`.
    pub mean: Value,
    /// The value of each seed, in the order of [`Entry::seeds`].
    pub by_seed: Vec<Option<f64>>,
    /// The 95 % interval over seeds (Student's t), from two seeds on.
    pub seed_interval: Option<[f64; 2]>,
    /// The 95 % interval over test instances (percentile bootstrap, the same instances for all entries), if computed.
    pub sampling_interval: Option<[f64; 2]>,
    /// Number of rows in the test after the task or, for a metric of the whole run, in the last test.
    pub instances: usize,
    /// For a mean over classes, tasks or stages, how many of them have test rows and so entered.
    pub entered: Option<Entered>,
}

/// The runs of one method and variant: a row of the tables.
#[derive(Debug, Clone, Serialize)]
pub struct Entry {
    /// The label of the runs, [`RunRecord::label`].
    pub label: String,
    /// Method name, or the name given to `mkgc score`.
    pub method: String,
    /// 1 + the number of entries that are significantly better. Entries of equal rank cannot be told apart. `None` for
    /// entries listed apart.
    pub rank: Option<usize>,
    /// Training seeds in ascending order.
    pub seeds: Vec<u64>,
    /// For each metric, its value after each task.
    pub stages: BTreeMap<Metric, Vec<Estimate>>,
    /// Metrics of the whole run.
    pub summary: BTreeMap<Metric, Estimate>,
    /// `R[i][j]`, `j <= i`, averaged over the seeds.
    pub matrix: Matrix,
    /// F1 of each class, in the order of the tasks.
    pub classes: Vec<ClassRow>,
    /// Shares of test items after the last task.
    pub confusion: Confusion,
    /// The runs, in the order of the seeds.
    pub runs: Vec<RunCard>,
}

impl Entry {
    /// Returns the main metric after the last task.
    pub fn ranking(&self) -> &Estimate {
        &self.summary[&Metric::RANKING]
    }

    /// Tells whether the entry saw generated pictures in place of the corpus's own.
    pub fn stand_ins(&self) -> bool {
        self.runs.iter().any(|run| run.record.stand_ins())
    }
}

/// F1 of a class after each task.
#[derive(Debug, Clone, Serialize)]
pub struct ClassRow {
    /// Name of the class: a relation or an entity type.
    pub class: String,
    /// 0-based task that introduces it.
    pub task: usize,
    /// Gold items in the last test.
    pub support: usize,
    /// F1 after each task, averaged over the seeds; undefined before the class is learned.
    pub f1: Vec<Value>,
}

/// What gold items of classes learned before the last task (old) and in it (new) are predicted as. Shares are undefined if
/// there is no such item.
#[derive(Debug, Clone, Serialize)]
pub struct Confusion {
    /// Gold old: right, another old class, a new class, none.
    pub old: [Value; 4],
    /// Gold new: right, an old class, another new class, none.
    pub new: [Value; 4],
    /// Gold none: predicted none, an old class, a new class. NER: predicted spans whose words are no gold span.
    pub none: [Value; 3],
    /// Number of items in each of the three groups, in the run of the last seed.
    pub items: [usize; 3],
}

/// A run that the numbers of an entry come from.
#[derive(Debug, Clone, Serialize)]
pub struct RunCard {
    /// Path of the run folder, as given or as found in a folder given.
    pub folder: String,
    /// Record of the run, the content of its `run.json`.
    pub record: RunRecord,
    /// Lines of the training log, `metrics.jsonl`; none of an external run.
    pub curve: Vec<Line>,
}

/// A paired permutation test of the main metric after the last task.
#[derive(Debug, Clone, Serialize)]
pub struct Comparison {
    /// Index of the first entry.
    pub one: usize,
    /// Index of the second entry.
    pub other: usize,
    /// The metric of `one` minus that of `other`.
    pub difference: f64,
    /// Two-sided p value of the test, before any correction for the number of pairs.
    pub p: f64,
    /// p value after Holm's correction over all pairs of the board.
    pub p_holm: f64,
}

/// A run or seed that gives no number.
#[derive(Debug, Clone, Serialize)]
pub struct Absent {
    /// Label of the runs it would belong to.
    pub label: String,
    /// Training seed, if a file of the run says it.
    pub seed: Option<u64>,
    /// Why there is no number.
    pub kind: AbsentKind,
    /// What happened to the run, in words for people.
    pub cause: String,
    /// Run folder, if there is one.
    pub folder: Option<String>,
    /// Path of the file that says more, e.g. `failure.json`, if there is one.
    pub log: Option<String>,
}

/// Why a run or seed gives no number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AbsentKind {
    /// The run ended with an error, or its predictions cannot be read.
    Failed,
    /// The run has not finished.
    Unfinished,
    /// Another run of the same label and seed is shown.
    Duplicate,
    /// Other entries have this seed, this one has not.
    Missing,
}

impl fmt::Display for AbsentKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Failed => "failed",
            Self::Unfinished => "unfinished",
            Self::Duplicate => "duplicate",
            Self::Missing => "missing",
        })
    }
}
