//! Finds and reads run folders. The metrics of finished runs are recomputed from their predictions; of the others, it is
//! recorded what happened to them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::board::{Absent, AbsentKind};
use crate::error::{Error, Result};
use crate::metrics::Counts;
use crate::metrics::score::{self, RunResult};
use crate::metrics::stage;
use crate::run::find::find;
use crate::run::log::{self, Line};
use crate::run::record::RunRecord;
use crate::run::{RunFolder, failure};

/// A finished run.
pub struct FinishedRun {
    /// Run folder.
    pub folder: PathBuf,
    /// Contents of `run.json`.
    pub record: RunRecord,
    /// Metrics, recomputed from the predictions.
    pub result: RunResult,
    /// Training log.
    pub curve: Vec<Line>,
    /// Ids of the rows of the last test, in file order.
    pub ids: Vec<String>,
    /// Counts of each row of the last test.
    pub counts: Vec<Counts>,
}

/// The runs of one label, by seed.
pub type Group = BTreeMap<u64, FinishedRun>;

/// All runs that a report is asked for.
#[derive(Default)]
pub struct Loaded {
    /// The finished runs.
    pub runs: Vec<FinishedRun>,
    /// The other runs, with the benchmark each belongs to.
    pub absent: Vec<(String, Absent)>,
}

/// Reads the given run folders, and the run folders in any other folder given.
pub fn load(given: &[impl AsRef<Path>]) -> Result<Loaded> {
    let folders = find(given)?;
    let mut loaded = Loaded::default();
    for outcome in folders.par_iter().map(|folder| read(folder)).collect::<Vec<_>>() {
        match outcome? {
            Ok(run) => loaded.runs.push(run),
            Err(absent) => loaded.absent.push(absent),
        }
    }
    Ok(loaded)
}

/// Reads a finished run. If there are no numbers, returns why and the benchmark that the run belongs to.
fn read(path: &Path) -> Result<std::result::Result<FinishedRun, (String, Absent)>> {
    let folder = RunFolder::new(path);
    let record = folder.record()?;
    if !folder.result().exists() {
        return Ok(Err((record.dataset.name.clone(), unfinished(&folder, &record)?)));
    }
    let run = score::read_stages(&folder, &record).and_then(|stages| {
        let result = score::score(&record, &stages);
        let last = stages.last().and_then(Option::as_deref).unwrap_or_default();
        let counts = stage::instances(&record.dataset, stages.len().saturating_sub(1), last);
        let ids = last.iter().map(|row| row.id.clone()).collect();
        Ok(FinishedRun {
            folder: path.to_owned(),
            record: record.clone(),
            result,
            curve: log::read(&folder.metrics())?,
            ids,
            counts,
        })
    });
    let damaged = |error: Error| {
        let cause = format!("its predictions cannot be read: {error}");
        (record.dataset.name.clone(), absent(&folder, &record, AbsentKind::Failed, cause, None))
    };
    Ok(run.map_err(damaged))
}

/// Says what happened to a run without a result.
fn unfinished(folder: &RunFolder, record: &RunRecord) -> Result<Absent> {
    let tasks = record.dataset.tasks.len();
    if let Some(failure) = failure::read(folder)? {
        let cause = format!("in task {} of {tasks}: {}", failure.tasks_learned + 1, failure.error.join(": "));
        return Ok(absent(folder, record, AbsentKind::Failed, cause, Some(folder.failure())));
    }
    if record.stream().is_some() {
        let learned = folder.tasks_learned(tasks);
        let cause = format!("predictions of {learned} of {tasks} tasks; go on with `mkgc stream` on the same folder");
        return Ok(absent(folder, record, AbsentKind::Unfinished, cause, None));
    }
    let place = log::read(&folder.metrics())?.last().map_or_else(
        || "its metrics.jsonl is empty".to_owned(),
        |line| format!("its metrics.jsonl ends in task {} of {tasks}, step {}", line.stage + 1, line.step),
    );
    let cause = format!("{place}; go on with `mkgc train` on the same folder");
    Ok(absent(folder, record, AbsentKind::Unfinished, cause, Some(folder.metrics())))
}

fn absent(folder: &RunFolder, record: &RunRecord, kind: AbsentKind, cause: String, log: Option<PathBuf>) -> Absent {
    Absent {
        label: record.label(),
        seed: Some(record.train_seed()),
        kind,
        cause,
        folder: Some(folder.dir().display().to_string()),
        log: log.map(|log| log.display().to_string()),
    }
}
