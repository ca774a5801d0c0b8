//! From runs to boards.

use std::collections::{BTreeMap, BTreeSet};

use super::agree;
use super::board::{Absent, Board, ClassRow, Confusion, Entry, Estimate, MetricInfo, RunCard};
use super::load::{Loaded, Run};
use super::significance;
use crate::error::{Error, Result};
use crate::methods;
use crate::metrics::confusion::ConfusionCounts;
use crate::metrics::continual::{Matrix, Value, intransigence_chaudhry18};
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
type Group = BTreeMap<u64, Run>;

fn board(runs: Vec<Run>, mut absent: Vec<Absent>) -> Board {
    let groups = groups(runs, &mut absent);
    let joint = joint(&groups);
    let mut entries: Vec<(Entry, Group)> = groups.into_iter().map(|group| (entry(&group, &joint), group)).collect();
    let last = |entry: &Entry| entry.summary["last_micro_f1"].mean.number().unwrap_or(0.0);
    // Stable: ties stay in the order of methods.
    entries.sort_by(|(a, _), (b, _)| last(b).total_cmp(&last(a)));
    let (mut entries, groups): (Vec<Entry>, Vec<Group>) = entries.into_iter().unzip();
    let comparisons = significance::compare(&mut entries, &groups);
    absent.extend(gaps(&entries, &absent));
    let record = &entries[0].runs[0].record;
    let (mut dataset, learned) = (record.dataset.clone(), record.tasks());
    dataset.tasks.truncate(learned);
    Board {
        benchmark: dataset.name,
        task: dataset.task,
        fingerprint: dataset.fingerprint,
        tasks: dataset.tasks,
        metrics: metrics(dataset.task),
        entries,
        comparisons,
        absent,
    }
}

/// Runs by label, in the order of methods, variants in the order given; second runs of a seed become absent.
fn groups(mut runs: Vec<Run>, absent: &mut Vec<Absent>) -> Vec<Group> {
    runs.sort_by_key(|run| methods::place(&run.record.method));
    let mut groups: Vec<(String, Group)> = Vec::new();
    for run in runs {
        let (label, seed) = (run.record.label(), run.record.config.train_seed);
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
fn gaps(entries: &[Entry], absent: &[Absent]) -> Vec<Absent> {
    let all: BTreeSet<u64> = entries.iter().flat_map(|entry| &entry.seeds).copied().collect();
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
    entries.iter().flat_map(missing).collect()
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

/// Text encoder and matrices of the board's Joint, or why there is none.
type Joint = std::result::Result<(String, Matrix), &'static str>;

fn joint(groups: &[Group]) -> Joint {
    let of = |group: &&Group| group.values().all(|run| run.record.method == "joint");
    let found: Vec<&Group> = groups.iter().filter(of).collect();
    match found[..] {
        [] => Err("needs a run of Joint on the board"),
        [group] => {
            let encoder = group.values().next().map(|run| run.record.encoder.identity.clone()).unwrap_or_default();
            Ok((encoder, mean_matrix(group)))
        }
        _ => Err("several variants of Joint are on the board"),
    }
}

fn mean_matrix(group: &Group) -> Matrix {
    let matrices: Vec<&Matrix> = group.values().map(|run| &run.result.matrix).collect();
    let mean = |i: usize, j: usize| matrices.iter().map(|matrix| matrix[i][j]).sum::<f64>() / matrices.len() as f64;
    let scored = |i: usize| if matrices.iter().any(|matrix| matrix[i].is_empty()) { 0 } else { i + 1 };
    (0..matrices[0].len()).map(|i| (0..scored(i)).map(|j| mean(i, j)).collect()).collect()
}

fn intransigence(run: &Run, joint: &Joint) -> Value {
    match joint {
        _ if run.record.method == "joint" => Value::undefined("Joint is what others are compared with"),
        Err(reason) => Value::undefined(reason),
        Ok((encoder, _)) if *encoder != run.record.encoder.identity => {
            Value::undefined("the board's Joint has another text encoder")
        }
        Ok((_, matrix)) => intransigence_chaudhry18(&run.result.matrix, matrix),
    }
}

fn entry(group: &Group, joint: &Joint) -> Entry {
    let runs: Vec<&Run> = group.values().collect();
    let stages = runs[0].result.stages.len();
    let stage = |name: &str, stage: usize| {
        let values = runs.iter().map(|run| run.result.stages[stage].get(name)).collect();
        estimate(values, runs[0].result.stages[stage].rows)
    };
    let by_stage =
        |formula: &Formula| (formula.name.to_owned(), (0..stages).map(|index| stage(formula.name, index)).collect());
    let rows = runs[0].ids.len();
    let mut summary: BTreeMap<String, Estimate> = BTreeMap::new();
    for name in runs[0].result.continual.keys() {
        let values = runs.iter().map(|run| run.result.continual[name].clone()).collect();
        summary.insert(name.clone(), estimate(values, rows));
    }
    let values = runs.iter().map(|run| intransigence(run, joint)).collect();
    summary.insert("intransigence_chaudhry18".to_owned(), estimate(values, rows));
    Entry {
        label: runs[0].record.label(),
        method: runs[0].record.method.clone(),
        rank: 1,
        seeds: group.keys().copied().collect(),
        stages: formulas::STAGE.iter().map(by_stage).collect(),
        summary,
        matrix: mean_matrix(group),
        classes: classes(&runs),
        confusion: confusion(&runs),
        runs: runs.iter().map(|run| card(run)).collect(),
    }
}

fn estimate(values: Vec<Value>, instances: usize) -> Estimate {
    let by_seed: Vec<Option<f64>> = values.iter().map(Value::number).collect();
    let numbers: Vec<f64> = by_seed.iter().flatten().copied().collect();
    let seed_interval = if numbers.len() == by_seed.len() { student(&numbers) } else { None };
    Estimate { mean: Value::mean(values.iter()), by_seed, seed_interval, sampling_interval: None, instances }
}

fn classes(runs: &[&Run]) -> Vec<ClassRow> {
    let stages = &runs[0].result.stages;
    let mean = |class: &str, stage: usize| {
        let of = |run: &&Run| run.result.stages[stage].f1_by_class.get(class).copied();
        let values: Option<Vec<f64>> = runs.iter().map(of).collect();
        values.map(|values| values.iter().sum::<f64>() / values.len() as f64)
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
    let mut mean = Confusion::default();
    for run in runs {
        let counts = run.result.stages.last().and_then(|stage| stage.confusion.clone()).unwrap_or_default();
        let ConfusionCounts { old, new, none } = counts;
        mean.items = [old.iter().sum(), new.iter().sum(), none.iter().sum()];
        add_shares(&mut mean.old, &old, runs.len());
        add_shares(&mut mean.new, &new, runs.len());
        add_shares(&mut mean.none, &none, runs.len());
    }
    mean
}

fn add_shares(shares: &mut [f64], counts: &[usize], runs: usize) {
    let whole = (counts.iter().sum::<usize>().max(1) * runs) as f64;
    shares.iter_mut().zip(counts).for_each(|(share, count)| *share += *count as f64 / whole);
}

fn card(run: &Run) -> RunCard {
    RunCard { folder: run.folder.display().to_string(), record: run.record.clone(), curve: run.curve.clone() }
}
