//! Assembles boards from runs: one per benchmark, with an entry for all seeds of a method.

use std::collections::{BTreeMap, BTreeSet};

use mkgc_builder::corpus::Extraction;
use polars::prelude::DataFrame;

use super::agree;
use super::board::{Absent, AbsentKind, Board, ClassRow, Confusion, Entry, MetricInfo, RunCard};
use super::bounds::{Bounds, mean_matrix};
use super::load::{AbsentRun, FinishedRun, Group, Loaded};
use super::scores::{self, Estimates};
use super::significance;
use crate::console::note;
use crate::error::{Error, Result};
use crate::methods;
use crate::metrics::Metric;
use crate::metrics::confusion::ConfusionCounts;
use crate::metrics::value::Value;
use crate::run::record::DatasetRecord;

/// Makes one board for each benchmark that a run is of, finished or not. A run whose benchmark has
/// no board, or of which no file says the benchmark, is listed on every board.
///
/// # Errors
/// Runs must not be compared; no run is finished.
pub fn boards(loaded: Loaded) -> Result<Vec<Board>> {
    let Loaded { runs, absent } = loaded;
    if runs.is_empty() {
        let causes: Vec<String> = absent.iter().map(|run| named(&run.absent)).collect();
        return Err(Error::Usage(format!("no run is finished:\n{}", causes.join("\n"))));
    }
    let mut by_benchmark: BTreeMap<String, BenchmarkRuns> = BTreeMap::new();
    for run in runs {
        by_benchmark.entry(run.record.dataset.name.clone()).or_default().finished.push(run);
    }
    for dataset in absent.iter().filter_map(|run| run.dataset.as_ref()) {
        by_benchmark.entry(dataset.name.clone()).or_default().dataset.get_or_insert_with(|| dataset.clone());
    }
    for AbsentRun { benchmark, absent, .. } in absent {
        match benchmark.and_then(|benchmark| by_benchmark.get_mut(&benchmark)) {
            Some(runs) => runs.absent.push(absent),
            None => by_benchmark.values_mut().for_each(|runs| runs.absent.push(absent.clone())),
        }
    }
    by_benchmark.into_iter().map(|(name, runs)| runs.board(&name)).collect()
}

/// The runs of a benchmark.
#[derive(Default)]
struct BenchmarkRuns {
    finished: Vec<FinishedRun>,
    absent: Vec<Absent>,
    /// The benchmark, as a run without a result has it.
    dataset: Option<DatasetRecord>,
}

impl BenchmarkRuns {
    fn board(self, name: &str) -> Result<Board> {
        if let Some(dataset) = self.dataset.filter(|_| self.finished.is_empty()) {
            let causes: Vec<String> = self.absent.iter().map(named).collect();
            note(format_args!("warning: no run on {name} is finished:\n{}", causes.join("\n")));
            return empty(dataset, self.absent);
        }
        agree::check(&self.finished)?;
        board(self.finished, self.absent)
    }
}

/// Says what happened to a run without a number.
fn named(run: &Absent) -> String {
    format!("run {} is {}: {}", run.folder.as_deref().unwrap_or_default(), run.kind, run.cause)
}

/// Makes the board of a benchmark without a finished run.
fn empty(dataset: DatasetRecord, absent: Vec<Absent>) -> Result<Board> {
    Ok(Board {
        metrics: described(dataset.task),
        benchmark: dataset.name,
        task: dataset.task,
        fingerprint: dataset.fingerprint,
        tasks: dataset.tasks,
        entries: Vec::new(),
        apart: Vec::new(),
        comparisons: Vec::new(),
        absent,
        scores: scores::frame(&Group::new(), &Bounds::new(&[]))?,
    })
}

/// Describes every metric, also those that no entry has a value of.
fn described(task: Extraction) -> Vec<MetricInfo> {
    Metric::all().map(|metric| MetricInfo::new(metric, task)).collect()
}

/// A row of the tables and what it is made of.
struct TableRow {
    entry: Entry,
    runs: Group,
    scores: DataFrame,
}

fn board(runs: Vec<FinishedRun>, mut absent: Vec<Absent>) -> Result<Board> {
    let groups = groups(runs, &mut absent);
    let bounds = Bounds::new(&groups);
    let mut rows = groups.into_iter().map(|runs| row(runs, &bounds)).collect::<Result<Vec<TableRow>>>()?;
    absent.extend(gaps(&rows, &absent));
    let record = &rows[0].entry.runs[0].record;
    let learned = record.tasks();
    let mut dataset = record.dataset.clone();
    dataset.tasks.truncate(learned);
    // The sort is stable: ties stay in the order of methods.
    let last = |row: &TableRow| row.entry.ranking().mean.number().unwrap_or(0.0);
    rows.sort_by(|a, b| last(b).total_cmp(&last(a)));
    let (apart, ranked): (Vec<TableRow>, Vec<TableRow>) = rows.into_iter().partition(|row| row.entry.stand_ins());
    let scores = scores::stacked(ranked.iter().chain(&apart).map(|row| &row.scores))?;
    let (mut entries, groups) = split(ranked);
    let (mut apart, groups_apart) = split(apart);
    significance::intervals(&mut apart, &groups_apart);
    let comparisons = significance::compare(&mut entries, &groups);
    Ok(Board {
        benchmark: dataset.name,
        task: dataset.task,
        fingerprint: dataset.fingerprint,
        tasks: dataset.tasks,
        metrics: described(dataset.task),
        entries,
        apart,
        comparisons,
        absent,
        scores,
    })
}

fn split(rows: Vec<TableRow>) -> (Vec<Entry>, Vec<Group>) {
    rows.into_iter().map(|row| (row.entry, row.runs)).unzip()
}

/// Groups runs by label, in the order of methods and, within a method, as given. A second run of a seed becomes absent; a copy
/// of the first one, as another board may hold it, is none.
fn groups(mut runs: Vec<FinishedRun>, absent: &mut Vec<Absent>) -> Vec<Group> {
    runs.sort_by_key(|run| methods::registry::position(&run.record.method));
    let mut groups: Vec<(String, Group)> = Vec::new();
    for run in runs {
        let label = run.record.label();
        let seed = run.record.train_seed();
        let index = groups.iter().position(|(known, _)| *known == label).unwrap_or_else(|| {
            groups.push((label.clone(), Group::new()));
            groups.len() - 1
        });
        let folder = Some(run.folder.display().to_string());
        if let Some(shown) = groups[index].1.get(&seed) {
            if shown.record == run.record && shown.result == run.result && shown.counts == run.counts {
                continue;
            }
            let cause = format!("the same method, variant and seed as {}, which is shown", shown.folder.display());
            absent.push(Absent { label, seed: Some(seed), kind: AbsentKind::Duplicate, cause, folder, log: None });
        } else {
            groups[index].1.insert(seed, run);
        }
    }
    groups.into_iter().map(|(_, group)| group).collect()
}

/// Lists the seeds that other entries have and an entry lacks, unless they are known to be absent.
fn gaps(rows: &[TableRow], absent: &[Absent]) -> Vec<Absent> {
    let seeded = || rows.iter().filter_map(|row| Some((row, maker(row)?)));
    let seeds: BTreeSet<u64> = seeded().flat_map(|(row, _)| row.runs.keys()).copied().collect();
    let mut gaps = Vec::new();
    for (TableRow { entry, runs, .. }, maker) in seeded() {
        let known = |seed: u64| absent.iter().any(|run| run.label == entry.label && run.seed == Some(seed));
        let missing = |seed: &u64| !runs.contains_key(seed) && !known(*seed);
        gaps.extend(seeds.iter().copied().filter(missing).map(|seed| Absent {
            label: entry.label.clone(),
            seed: Some(seed),
            kind: AbsentKind::Missing,
            cause: format!("other methods have this seed; make it with `{maker}`"),
            folder: None,
            log: None,
        }));
    }
    gaps
}

/// Returns the command that makes another seed of a row. None of a row with a single run that `mkgc score` made: such a model
/// may know no seeds, and mkgc cannot train it.
fn maker(row: &TableRow) -> Option<&'static str> {
    match &row.entry.runs[0].record {
        record if !record.is_external() => Some("mkgc train"),
        record if record.stream().is_some() => Some("mkgc stream --train-seed"),
        _ => (row.runs.len() > 1).then_some("mkgc score --train-seed"),
    }
}

fn row(runs: Group, bounds: &Bounds) -> Result<TableRow> {
    let scores = scores::frame(&runs, bounds)?;
    let Estimates { stages, summary } = scores::estimates(&scores)?;
    let by_seed: Vec<&FinishedRun> = runs.values().collect();
    let entry = Entry {
        label: by_seed[0].record.label(),
        method: by_seed[0].record.method.clone(),
        rank: None,
        seeds: runs.keys().copied().collect(),
        stages,
        summary,
        matrix: mean_matrix(&by_seed),
        classes: classes(&by_seed),
        confusion: confusion(&by_seed),
        runs: by_seed.iter().map(|run| card(run)).collect(),
    };
    Ok(TableRow { entry, runs, scores })
}

/// Averages the F1 of each class after each task over the seeds.
fn classes(runs: &[&FinishedRun]) -> Vec<ClassRow> {
    let stages = &runs[0].result.stages;
    let mean = |class: &str, stage: usize| {
        let unseen = || Value::undefined("not learned by then, or no predictions");
        let f1 = |run: &&FinishedRun| run.result.stages[stage].f1_by_class.get(class).cloned().unwrap_or_else(unseen);
        Value::mean(runs.iter().map(f1).collect::<Vec<_>>().iter())
    };
    let row = |(task, class): (usize, &String)| ClassRow {
        class: class.clone(),
        task,
        support: stages.last().and_then(|stage| stage.support_by_class.get(class)).copied().unwrap_or(0),
        f1: (0..stages.len()).map(|stage| mean(class, stage)).collect(),
    };
    let tasks = runs[0].record.dataset.tasks.iter().enumerate().take(stages.len());
    tasks.flat_map(|(index, task)| task.classes.iter().map(move |class| (index, class))).map(row).collect()
}

/// Averages the shares after the last task over the seeds.
fn confusion(runs: &[&FinishedRun]) -> Confusion {
    let last =
        |run: &&FinishedRun| run.result.stages.last().and_then(|stage| stage.confusion.clone()).unwrap_or_default();
    let counts: Vec<ConfusionCounts> = runs.iter().map(last).collect();
    let items = counts
        .last()
        .map_or([0; 3], |ConfusionCounts { old, new, none }| [old.iter().sum(), new.iter().sum(), none.iter().sum()]);
    Confusion {
        old: shares(counts.iter().map(|counts| counts.old)),
        new: shares(counts.iter().map(|counts| counts.new)),
        none: shares(counts.iter().map(|counts| counts.none)),
        items,
    }
}

/// Averages the shares over the runs that have an item.
fn shares<const N: usize>(counts: impl Iterator<Item = [usize; N]>) -> [Value; N] {
    let counted: Vec<[usize; N]> = counts.filter(|counts| counts.iter().any(|count| *count > 0)).collect();
    let share = |at: usize| {
        let part = |counts: &[usize; N]| counts[at] as f64 / counts.iter().sum::<usize>() as f64;
        match counted.len() {
            0 => Value::undefined("no such item in the test"),
            runs => Value::Number(counted.iter().map(part).sum::<f64>() / runs as f64),
        }
    };
    std::array::from_fn(share)
}

fn card(run: &FinishedRun) -> RunCard {
    RunCard { folder: run.folder.display().to_string(), record: run.record.clone(), curve: run.curve.clone() }
}
