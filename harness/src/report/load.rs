//! Finds run folders and reads them: finished runs with their metrics derived afresh, the others with what became of
//! them.

use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::board::Absent;
use crate::error::{Error, Result};
use crate::metrics::Counts;
use crate::metrics::score::{self, RunResult};
use crate::metrics::stage;
use crate::run::find::find;
use crate::run::log::{self, Line};
use crate::run::record::RunRecord;
use crate::run::{RunFolder, failure};

/// A finished run.
pub struct Run {
    /// Its folder.
    pub folder: PathBuf,
    /// Its settings.
    pub record: RunRecord,
    /// Its metrics, derived afresh from its predictions.
    pub result: RunResult,
    /// Its training log.
    pub curve: Vec<Line>,
    /// Ids of the rows of the last test, in file order.
    pub ids: Vec<String>,
    /// Their counts.
    pub counts: Vec<Counts>,
}

/// All runs that were asked for.
#[derive(Default)]
pub struct Loaded {
    /// The finished ones.
    pub runs: Vec<Run>,
    /// The others, with the benchmark each belongs to.
    pub absent: Vec<(String, Absent)>,
}

/// Reads run folders, and those below folders that are none.
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

/// A finished run, or what became of it and the benchmark it was on.
fn read(path: &Path) -> Result<std::result::Result<Run, (String, Absent)>> {
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
        Ok(Run {
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
        (record.dataset.name.clone(), absent(&folder, &record, "failed", cause, None))
    };
    Ok(run.map_err(damaged))
}

fn unfinished(folder: &RunFolder, record: &RunRecord) -> Result<Absent> {
    let tasks = record.dataset.tasks.len();
    if let Some(failure) = failure::read(folder)? {
        let cause = format!("in task {} of {tasks}: {}", failure.tasks_learned + 1, failure.error.join(": "));
        return Ok(absent(folder, record, "failed", cause, Some(folder.failure())));
    }
    let place = log::read(&folder.metrics())?.last().map_or_else(
        || "its metrics.jsonl is empty".to_owned(),
        |line| format!("its metrics.jsonl ends in task {} of {tasks}, step {}", line.stage + 1, line.step),
    );
    let cause = format!("{place}; go on with `mkgc train` on the same folder");
    Ok(absent(folder, record, "unfinished", cause, Some(folder.metrics())))
}

fn absent(folder: &RunFolder, record: &RunRecord, kind: &str, cause: String, log: Option<PathBuf>) -> Absent {
    Absent {
        label: record.label(),
        seed: Some(record.train_seed()),
        kind: kind.to_owned(),
        cause,
        folder: Some(folder.dir().display().to_string()),
        log: log.map(|log| log.display().to_string()),
    }
}
