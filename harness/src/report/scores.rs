//! The long frame of scores: one row per metric, task and run. Estimates are group-bys of it, and `scores.csv` is the frame
//! as it is.
//!
//! `tasks_learned` is empty for metrics of the whole run, and `value` is empty with a `reason` if it is undefined. If the
//! value is a mean over classes, tasks or stages, `n` of `n_of` entered. `stand_in` marks runs that saw generated pictures
//! in place of the corpus's own.

use std::collections::BTreeMap;

use polars::df;
use polars::prelude::DataFrame;

use super::board::Estimate;
use super::bounds::Bounds;
use super::load::{FinishedRun, Group};
use crate::error::Result;
use crate::metrics::metric::MatrixFormula;
use crate::metrics::value::{Entered, Value};
use crate::metrics::{Metric, StageMetric};
use crate::run::record::RunRecord;
use crate::stats::interval::student;

/// A row of the frame, without what all runs of an entry share.
struct Score {
    seed: u64,
    tasks_learned: Option<usize>,
    metric: Metric,
    value: Value,
    instances: usize,
    entered: Option<Entered>,
}

/// Makes the frame of the runs of one entry, in the order of the metrics' keys, the tasks and the seeds.
pub fn frame(runs: &Group, bounds: &Bounds) -> Result<DataFrame> {
    let mut metrics: Vec<Metric> = Metric::all().collect();
    metrics.sort_by_key(|metric| (!matches!(metric, Metric::Stage(_)), *metric));
    let scores: Vec<Score> = metrics.into_iter().flat_map(|metric| scores(metric, runs, bounds)).collect();
    let shared = runs.values().next().map(|run| &run.record);
    let benchmark = shared.map(|record| record.dataset.name.as_str());
    let label = shared.map(RunRecord::label);
    let stand_in = runs.values().any(|run| run.record.stand_ins());
    Ok(df!(
        "benchmark" => column(&scores, |_| benchmark),
        "method" => column(&scores, |_| label.as_deref()),
        "seed" => column(&scores, |score| score.seed),
        "tasks_learned" => column(&scores, |score| score.tasks_learned.map(|tasks| tasks as u32)),
        "metric" => column(&scores, |score| score.metric.key()),
        "value" => column(&scores, |score| score.value.number()),
        "instances" => column(&scores, |score| score.instances as u32),
        "reason" => column(&scores, |score| score.value.reason()),
        "n" => column(&scores, |score| score.entered.map(|entered| entered.n as u32)),
        "n_of" => column(&scores, |score| score.entered.map(|entered| entered.of as u32)),
        "stand_in" => column(&scores, |_| stand_in),
    )?)
}

fn column<'a, T>(scores: &'a [Score], field: impl Fn(&'a Score) -> T) -> Vec<T> {
    scores.iter().map(field).collect()
}

/// Returns the rows of one metric, for every task (if it is measured after each) and every run.
fn scores(metric: Metric, runs: &Group, bounds: &Bounds) -> Vec<Score> {
    let by_seed = || runs.iter().map(|(seed, run)| (*seed, run));
    if let Metric::Stage(stage_metric) = metric {
        let tasks = runs.values().next().map_or(0, |run| run.result.stages.len());
        return (0..tasks)
            .flat_map(|stage| by_seed().map(move |(seed, run)| after_task(stage, stage_metric, seed, run)))
            .collect();
    }
    by_seed().map(|(seed, run)| over_tasks(metric, seed, run, bounds)).collect()
}

fn after_task(stage: usize, metric: StageMetric, seed: u64, run: &FinishedRun) -> Score {
    let scores = &run.result.stages[stage];
    Score {
        seed,
        tasks_learned: Some(stage + 1),
        metric: Metric::Stage(metric),
        value: scores.get(metric),
        instances: scores.rows,
        entered: scores.entered(metric),
    }
}

fn over_tasks(metric: Metric, seed: u64, run: &FinishedRun, bounds: &Bounds) -> Score {
    let (value, entered) = if let Metric::Matrix(matrix_metric) = metric
        && let MatrixFormula::AgainstJoint(formula) = matrix_metric.compute()
    {
        let mean = bounds.compare(run, formula);
        (mean.value, Some(mean.entered))
    } else {
        let value = run.result.continual.get(&metric).cloned().unwrap_or_default();
        (value, run.result.entered.get(&metric).copied())
    };
    Score { seed, tasks_learned: None, metric, value, instances: run.counts.len(), entered }
}

/// Stacks frames on top of each other.
pub fn stacked<'a>(frames: impl Iterator<Item = &'a DataFrame>) -> Result<DataFrame> {
    let mut all = DataFrame::default();
    for frame in frames {
        all.vstack_mut(frame)?;
    }
    Ok(all)
}

/// The metrics of an entry over its seeds.
#[derive(Default)]
pub struct Estimates {
    /// For each metric, its value after each task.
    pub stages: BTreeMap<Metric, Vec<Estimate>>,
    /// Metrics of the whole run.
    pub summary: BTreeMap<Metric, Estimate>,
}

/// Groups the frame of an entry by metric and task, and averages each group over the seeds.
pub fn estimates(scores: &DataFrame) -> Result<Estimates> {
    let mut estimates = Estimates::default();
    let groups = scores.group_by_stable(["metric", "tasks_learned"])?;
    for group in groups.get_groups().iter() {
        // The rows of a group follow each other, see `frame`.
        let group = scores.slice(i64::from(group.first()), group.len());
        let Some(metric) = group.column("metric")?.str()?.get(0).and_then(Metric::from_key) else { continue };
        let estimate = estimate(&group)?;
        if let Metric::Stage(_) = metric {
            estimates.stages.entry(metric).or_default().push(estimate);
        } else {
            estimates.summary.insert(metric, estimate);
        }
    }
    Ok(estimates)
}

/// Averages a group over its seeds. The mean is undefined for the first reason that a seed gives.
fn estimate(group: &DataFrame) -> Result<Estimate> {
    let first = |name: &str| -> Result<Option<usize>> { Ok(group.column(name)?.u32()?.get(0).map(|n| n as usize)) };
    let by_seed: Vec<Option<f64>> = group.column("value")?.f64()?.iter().collect();
    let numbers: Vec<f64> = by_seed.iter().flatten().copied().collect();
    let reasons = group.column("reason")?;
    let reason = reasons.str()?.iter().flatten().next();
    let entered = first("n")?.zip(first("n_of")?).map(|(n, of)| Entered { n, of });
    let (mean, seed_interval) = match reason {
        Some(reason) => (Value::Undefined(reason.to_owned()), None),
        None => (Value::Number(numbers.iter().sum::<f64>() / numbers.len() as f64), student(&numbers)),
    };
    let instances = first("instances")?.unwrap_or_default();
    Ok(Estimate { mean, by_seed, seed_interval, sampling_interval: None, instances, entered })
}
