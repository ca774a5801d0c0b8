//! The report's CSV files, as polars frames.

use polars::prelude::{Column as Series, CsvWriter, DataFrame, SerWriter};

use super::board::{Board, Entry, Estimate};
use super::table::Table;
use crate::error::Result;

/// Every value of every run: a row per run × stage × metric, `tasks_learned` empty for metrics of the whole run, `value`
/// empty with a `reason` where there is none; `n` of `n_of` classes, tasks or stages entered where it is a mean of them;
/// `stand_in` where generated pictures took the place of the corpus's own.
pub fn scores(boards: &[Board]) -> Result<DataFrame> {
    let mut rows = Scores::default();
    for board in boards {
        for entry in board.all() {
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
        Series::new("n".into(), rows.n),
        Series::new("n_of".into(), rows.n_of),
        Series::new("stand_in".into(), rows.stand_in),
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
    n: Vec<Option<u32>>,
    n_of: Vec<Option<u32>>,
    stand_in: Vec<bool>,
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
            self.n.push(estimate.entered.map(|entered| entered.n as u32));
            self.n_of.push(estimate.entered.map(|entered| entered.of as u32));
            self.stand_in.push(stand_in(entry));
        }
    }
}

/// Did the entry see generated pictures in place of the corpus's own?
fn stand_in(entry: &Entry) -> bool {
    entry.runs.iter().any(|run| run.record.stand_ins())
}

/// One of an estimate's intervals.
type Interval = fn(&Estimate) -> Option<[f64; 2]>;

/// A table: mean per column, the ends of its intervals where some entry has one, and how many classes, tasks or stages
/// entered where it is a mean of them. Entries with stand-in pictures come last, without a rank.
pub fn table(table: &Table<'_>) -> Result<DataFrame> {
    let entries = || table.all();
    let mut columns = vec![
        Series::new("rank".into(), entries().map(|entry| entry.rank.map(|rank| rank as u32)).collect::<Vec<_>>()),
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
        if table.entered.iter().any(|(name, _)| *name == column.name) {
            let n = |entry: &Entry| Some(column.of(entry)?.entered?.n as u32);
            columns.push(Series::new(format!("{}_n", column.name).into(), entries().map(n).collect::<Vec<_>>()));
        }
    }
    columns.push(Series::new("stand_in".into(), entries().map(stand_in).collect::<Vec<_>>()));
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

/// F1 of each class after each task, mean over seeds; empty before it is seen and where the test has no row of it.
pub fn classes(board: &Board) -> Result<DataFrame> {
    let all: Vec<_> = board.all().flat_map(|entry| entry.classes.iter().map(move |class| (entry, class))).collect();
    let mut columns = vec![
        Series::new("method".into(), all.iter().map(|(entry, _)| entry.label.clone()).collect::<Vec<_>>()),
        Series::new("seeds".into(), all.iter().map(|(entry, _)| entry.seeds.len() as u32).collect::<Vec<_>>()),
        Series::new("class".into(), all.iter().map(|(_, class)| class.class.clone()).collect::<Vec<_>>()),
        Series::new("task".into(), all.iter().map(|(_, class)| class.task as u32 + 1).collect::<Vec<_>>()),
        Series::new("support".into(), all.iter().map(|(_, class)| class.support as u32).collect::<Vec<_>>()),
    ];
    for stage in 0..board.tasks.len() {
        let f1: Vec<Option<f64>> = all.iter().map(|(_, class)| class.f1[stage].number()).collect();
        columns.push(Series::new(format!("T{}", stage + 1).into(), f1));
    }
    columns.push(Series::new("stand_in".into(), all.iter().map(|(entry, _)| stand_in(entry)).collect::<Vec<_>>()));
    Ok(DataFrame::new_infer_height(columns)?)
}

/// The bytes of a CSV file.
pub fn csv(mut frame: DataFrame) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    CsvWriter::new(&mut bytes).with_float_precision(Some(6)).finish(&mut frame)?;
    Ok(bytes)
}
