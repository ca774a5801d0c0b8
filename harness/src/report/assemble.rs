//! From runs to boards.

use std::collections::{BTreeMap, BTreeSet};

use super::agree;
use super::board::{Absent, Board, ClassRow, Confusion, Entry, Estimate, MetricInfo, RunCard};
use super::bounds::{Bounds, mean_matrix};
use super::load::{Loaded, Run};
use super::significance;
use crate::error::{Error, Result};
use crate::methods;
use crate::metrics::confusion::ConfusionCounts;
use crate::metrics::continual::{Entered, Mean, Value};
use crate::metrics::formulas::{self, Formula};
use crate::stats::interval::student;
use mkgc_builder::corpus::TaskKind;

/// One board for each benchmark with a finished run. Runs that must not be compared are refused.
pub fn boards(loaded: Loaded) -> Result<Vec<Board>> {
    let Loaded { runs, mut absent } = loaded;
    let mut by_benchmark: BTreeMap<String, Vec<Run>> = BTreeMap::new();
    for run in runs {
        by_benchmark.entry(run.record.dataset.name.clone()).or_default().push(run);
    }
    if let Some((_, first)) = absent.first().filter(|_| by_benchmark.is_empty()) {
        let (folder, cause) = (first.folder.as_deref().unwrap_or_default(), &first.cause);
        return Err(Error::Usage(format!("no run is finished; run {folder} is {}: {cause}", first.kind)));
    }
    let mut boards = Vec::new();
    for (name, runs) in by_benchmark {
        agree::check(&runs)?;
        let (own, others) = absent.into_iter().partition::<Vec<_>, _>(|(benchmark, _)| *benchmark == name);
        absent = others;
        boards.push(board(runs, own.into_iter().map(|(_, absent)| absent).collect()));
    }
    if let Some((benchmark, run)) = absent.first() {
        let folder = run.folder.as_deref().unwrap_or_default();
        eprintln!("warning: no run on {benchmark} is finished; run {folder} is {}: {}", run.kind, run.cause);
    }
    Ok(boards)
}

/// Runs of one label by seed.
pub(super) type Group = BTreeMap<u64, Run>;

fn board(runs: Vec<Run>, mut absent: Vec<Absent>) -> Board {
    let groups = groups(runs, &mut absent);
    let bounds = Bounds::new(&groups);
    let rows: Vec<(Entry, Group)> = groups.into_iter().map(|group| (entry(&group, &bounds), group)).collect();
    absent.extend(gaps(&rows, &absent));
    let record = &rows[0].0.runs[0].record;
    let (mut dataset, learned) = (record.dataset.clone(), record.tasks());
    dataset.tasks.truncate(learned);
    let (apart, ranked) = rows.into_iter().partition(|(entry, _)| entry.runs.iter().any(|run| run.record.stand_ins()));
    let ((mut entries, groups), (mut apart, groups_apart)) = (sorted(ranked), sorted(apart));
    significance::intervals(&mut apart, &groups_apart);
    let comparisons = significance::compare(&mut entries, &groups);
    Board {
        benchmark: dataset.name,
        task: dataset.task,
        fingerprint: dataset.fingerprint,
        tasks: dataset.tasks,
        metrics: metrics(dataset.task),
        entries,
        apart,
        comparisons,
        absent,
    }
}

/// Best first by the main metric after the last task.
fn sorted(mut rows: Vec<(Entry, Group)>) -> (Vec<Entry>, Vec<Group>) {
    let last = |entry: &Entry| entry.summary["last_micro_f1"].mean.number().unwrap_or(0.0);
    // Stable: ties stay in the order of methods.
    rows.sort_by(|(a, _), (b, _)| last(b).total_cmp(&last(a)));
    rows.into_iter().unzip()
}

/// Runs by label, in the order of methods, variants in the order given; second runs of a seed become absent.
fn groups(mut runs: Vec<Run>, absent: &mut Vec<Absent>) -> Vec<Group> {
    runs.sort_by_key(|run| methods::registry::position(&run.record.method));
    let mut groups: Vec<(String, Group)> = Vec::new();
    for run in runs {
        let (label, seed) = (run.record.label(), run.record.train_seed());
        let place = groups.iter().position(|(known, _)| *known == label).unwrap_or_else(|| {
            groups.push((label.clone(), Group::new()));
            groups.len() - 1
        });
        let folder = Some(run.folder.display().to_string());
        if let Some(shown) = groups[place].1.get(&seed) {
            let cause = format!("the same method, variant and seed as {}, which is shown", shown.folder.display());
            absent.push(Absent { label, seed: Some(seed), kind: "duplicate".to_owned(), cause, folder, log: None });
        } else {
            groups[place].1.insert(seed, run);
        }
    }
    groups.into_iter().map(|(_, group)| group).collect()
}

/// Seeds that other entries have.
fn gaps(rows: &[(Entry, Group)], absent: &[Absent]) -> Vec<Absent> {
    let entries = || rows.iter().map(|(entry, _)| entry);
    let all: BTreeSet<u64> = entries().flat_map(|entry| &entry.seeds).copied().collect();
    let missing = |entry: &Entry| {
        let known = |seed: &u64| absent.iter().any(|run| run.label == entry.label && run.seed == Some(*seed));
        let lacks = all.iter().filter(|seed| !entry.seeds.contains(seed) && !known(seed));
        let (label, cause) =
            (entry.label.clone(), "other methods have this seed; make it with `mkgc train`".to_owned());
        let gap = move |seed: &u64| Absent {
            label: label.clone(),
            seed: Some(*seed),
            kind: "missing".to_owned(),
            cause: cause.clone(),
            folder: None,
            log: None,
        };
        lacks.map(gap).collect::<Vec<_>>()
    };
    entries().flat_map(missing).collect()
}

/// Every metric of a task: after each stage, of the last one, averaged, of the matrix.
fn metrics(task: TaskKind) -> Vec<MetricInfo> {
    let plain = |formula: &Formula, per_stage| MetricInfo {
        name: formula.name.to_owned(),
        title: formula.title(task).to_owned(),
        formula: formula.formula.to_owned(),
        higher_is_better: formula.higher_is_better,
        per_stage,
    };
    let last = |metric: &MetricInfo| MetricInfo {
        name: formulas::last(&metric.name),
        title: format!("{}, last", metric.title),
        formula: format!("`{}` after the last task", metric.name),
        per_stage: false,
        ..metric.clone()
    };
    let average = |metric: &MetricInfo| MetricInfo {
        name: formulas::average(&metric.name),
        title: format!("{}, average", metric.title),
        formula: format!("mean of `{}` over the stages (Rebuffi et al. 2017, average incremental)", metric.name),
        per_stage: false,
        ..metric.clone()
    };
    let mut all: Vec<MetricInfo> = formulas::STAGE.iter().map(|formula| plain(formula, true)).collect();
    let over: Vec<MetricInfo> = all.iter().flat_map(|metric| [last(metric), average(metric)]).collect();
    all.extend(over);
    all.extend(formulas::MATRIX.iter().map(|formula| plain(formula, false)));
    all
}

fn entry(group: &Group, bounds: &Bounds) -> Entry {
    let runs: Vec<&Run> = group.values().collect();
    let stages = runs[0].result.stages.len();
    let stage = |name: &str, stage: usize| {
        let (values, first) =
            (runs.iter().map(|run| run.result.stages[stage].get(name)), &runs[0].result.stages[stage]);
        estimate(values.collect(), first.rows, first.entered(name))
    };
    let by_stage =
        |formula: &Formula| (formula.name.to_owned(), (0..stages).map(|index| stage(formula.name, index)).collect());
    let rows = runs[0].ids.len();
    let mut summary: BTreeMap<String, Estimate> = BTreeMap::new();
    for name in runs[0].result.continual.keys() {
        let values = runs.iter().map(|run| run.result.continual[name].clone()).collect();
        summary.insert(name.clone(), estimate(values, rows, runs[0].result.entered.get(name).copied()));
    }
    let lost: Vec<Mean> = runs.iter().map(|run| bounds.intransigence(run)).collect();
    let entered = lost.first().map(|mean| mean.entered);
    let values = lost.into_iter().map(|mean| mean.value).collect();
    summary.insert("intransigence_chaudhry18".to_owned(), estimate(values, rows, entered));
    Entry {
        label: runs[0].record.label(),
        method: runs[0].record.method.clone(),
        rank: None,
        seeds: group.keys().copied().collect(),
        stages: formulas::STAGE.iter().map(by_stage).collect(),
        summary,
        matrix: mean_matrix(&runs),
        classes: classes(&runs),
        confusion: confusion(&runs),
        runs: runs.iter().map(|run| card(run)).collect(),
    }
}

fn estimate(values: Vec<Value>, instances: usize, entered: Option<Entered>) -> Estimate {
    let by_seed: Vec<Option<f64>> = values.iter().map(Value::number).collect();
    let numbers: Vec<f64> = by_seed.iter().flatten().copied().collect();
    let seed_interval = if numbers.len() == by_seed.len() { student(&numbers) } else { None };
    Estimate { mean: Value::mean(values.iter()), by_seed, seed_interval, sampling_interval: None, instances, entered }
}

fn classes(runs: &[&Run]) -> Vec<ClassRow> {
    let stages = &runs[0].result.stages;
    let mean = |class: &str, stage: usize| {
        let unseen = || Value::undefined("not learned by then, or no predictions");
        let of = |run: &&Run| run.result.stages[stage].f1_by_class.get(class).cloned().unwrap_or_else(unseen);
        Value::mean(runs.iter().map(of).collect::<Vec<_>>().iter())
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

/// Shares after the last task, mean over seeds.
fn confusion(runs: &[&Run]) -> Confusion {
    let last = |run: &&Run| run.result.stages.last().and_then(|stage| stage.confusion.clone()).unwrap_or_default();
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

/// Mean shares over the runs that have an item.
fn shares<const N: usize>(counts: impl Iterator<Item = [usize; N]>) -> [Value; N] {
    let counted: Vec<[usize; N]> = counts.filter(|counts| counts.iter().any(|count| *count > 0)).collect();
    let share = |at: usize| {
        let of = |counts: &[usize; N]| counts[at] as f64 / counts.iter().sum::<usize>() as f64;
        match counted.len() {
            0 => Value::undefined("no such item in the test"),
            runs => Value::Number(counted.iter().map(of).sum::<f64>() / runs as f64),
        }
    };
    std::array::from_fn(share)
}

fn card(run: &Run) -> RunCard {
    RunCard { folder: run.folder.display().to_string(), record: run.record.clone(), curve: run.curve.clone() }
}
