//! The report's CSV files, as polars frames.

use polars::prelude::{Column as Series, CsvWriter, DataFrame, SerWriter};

use super::board::{Board, Entry, Estimate};
use super::table::Table;
use crate::error::Result;

/// Every value of every run: a row per run × stage × metric, `tasks_learned` empty for metrics of the whole run, `value`
/// empty with a `reason` where there is none.
pub fn scores(boards: &[Board]) -> Result<DataFrame> {
    let mut rows = Scores::default();
    for board in boards {
        for entry in &board.entries {
            for (metric, stages) in &entry.stages {
                for (stage, estimate) in stages.iter().enumerate() {
                    rows.add(board, entry, metric, Some(stage as u32 + 1), estimate);
                }
            }
            for (metric, estimate) in &entry.summary {
                rows.add(board, entry, metric, None, estimate);
            }
        }
    }
    Ok(DataFrame::new_infer_height(vec![
        Series::new("benchmark".into(), rows.benchmark),
        Series::new("method".into(), rows.method),
        Series::new("seed".into(), rows.seed),
        Series::new("tasks_learned".into(), rows.tasks_learned),
        Series::new("metric".into(), rows.metric),
        Series::new("value".into(), rows.value),
        Series::new("instances".into(), rows.instances),
        Series::new("reason".into(), rows.reason),
    ])?)
}

/// The columns of [`scores`].
#[derive(Default)]
struct Scores {
    benchmark: Vec<String>,
    method: Vec<String>,
    seed: Vec<u64>,
    tasks_learned: Vec<Option<u32>>,
    metric: Vec<String>,
    value: Vec<Option<f64>>,
    instances: Vec<u32>,
    reason: Vec<Option<String>>,
}

impl Scores {
    fn add(&mut self, board: &Board, entry: &Entry, metric: &str, tasks_learned: Option<u32>, estimate: &Estimate) {
        for (seed, value) in entry.seeds.iter().zip(&estimate.by_seed) {
            self.benchmark.push(board.benchmark.clone());
            self.method.push(entry.label.clone());
            self.seed.push(*seed);
            self.tasks_learned.push(tasks_learned);
            self.metric.push(metric.to_owned());
            self.value.push(*value);
            self.instances.push(estimate.instances as u32);
            self.reason.push(if value.is_some() { None } else { estimate.mean.reason() });
        }
    }
}

/// One of an estimate's intervals.
type Interval = fn(&Estimate) -> Option<[f64; 2]>;

/// A table: mean per column, and the ends of its intervals where some entry has one.
pub fn table(table: &Table<'_>) -> Result<DataFrame> {
    let entries = || table.entries.iter();
    let mut columns = vec![
        Series::new("rank".into(), entries().map(|entry| entry.rank as u32).collect::<Vec<_>>()),
        Series::new("method".into(), entries().map(|entry| entry.label.clone()).collect::<Vec<_>>()),
        Series::new("seeds".into(), entries().map(|entry| entry.seeds.len() as u32).collect::<Vec<_>>()),
    ];
    for column in &table.columns {
        let values = |of: &dyn Fn(&Estimate) -> Option<f64>| -> Vec<Option<f64>> {
            entries().map(|entry| column.of(entry).and_then(of)).collect()
        };
        columns.push(Series::new(column.name.as_str().into(), values(&|estimate| estimate.mean.number())));
        let kinds: [(&str, Interval); 2] =
            [("seeds", |estimate| estimate.seed_interval), ("rows", |estimate| estimate.sampling_interval)];
        for (kind, interval) in kinds {
            if entries().any(|entry| column.of(entry).and_then(interval).is_some()) {
                for (end, name) in ["low", "high"].into_iter().enumerate() {
                    let name = format!("{}_{kind}_{name}", column.name);
                    columns.push(Series::new(name.into(), values(&|estimate| Some(interval(estimate)?[end]))));
                }
            }
        }
    }
    Ok(DataFrame::new_infer_height(columns)?)
}

/// The paired tests.
pub fn pairs(board: &Board) -> Result<DataFrame> {
    let pairs = || board.comparisons.iter();
    let label = |entry: usize| board.entries[entry].label.clone();
    Ok(DataFrame::new_infer_height(vec![
        Series::new("one".into(), pairs().map(|pair| label(pair.one)).collect::<Vec<_>>()),
        Series::new("other".into(), pairs().map(|pair| label(pair.other)).collect::<Vec<_>>()),
        Series::new("difference".into(), pairs().map(|pair| pair.difference).collect::<Vec<_>>()),
        Series::new("p".into(), pairs().map(|pair| pair.p).collect::<Vec<_>>()),
        Series::new("p_holm".into(), pairs().map(|pair| pair.p_holm).collect::<Vec<_>>()),
    ])?)
}

/// F1 of each class after each task, mean over seeds; empty before it is seen.
pub fn classes(board: &Board) -> Result<DataFrame> {
    let all: Vec<_> =
        board.entries.iter().flat_map(|entry| entry.classes.iter().map(move |class| (entry, class))).collect();
    let mut columns = vec![
        Series::new("method".into(), all.iter().map(|(entry, _)| entry.label.clone()).collect::<Vec<_>>()),
        Series::new("seeds".into(), all.iter().map(|(entry, _)| entry.seeds.len() as u32).collect::<Vec<_>>()),
        Series::new("class".into(), all.iter().map(|(_, class)| class.class.clone()).collect::<Vec<_>>()),
        Series::new("task".into(), all.iter().map(|(_, class)| class.task as u32 + 1).collect::<Vec<_>>()),
        Series::new("support".into(), all.iter().map(|(_, class)| class.support as u32).collect::<Vec<_>>()),
    ];
    for stage in 0..board.tasks.len() {
        let f1: Vec<Option<f64>> = all.iter().map(|(_, class)| class.f1[stage]).collect();
        columns.push(Series::new(format!("T{}", stage + 1).into(), f1));
    }
    Ok(DataFrame::new_infer_height(columns)?)
}

/// The bytes of a CSV file.
pub fn csv(mut frame: DataFrame) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    CsvWriter::new(&mut bytes).with_float_precision(Some(6)).finish(&mut frame)?;
    Ok(bytes)
}
