//! Finds and reads run folders. The metrics of finished runs are recomputed from their predictions; of the others, it is
//! recorded what happened to them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use mkgc_builder::files::sha256_hex;
use rayon::prelude::*;

use super::board::{Absent, AbsentKind};
use crate::error::{Error, Result};
use crate::metrics::Counts;
use crate::metrics::score::{self, RunResult};
use crate::metrics::stage;
use crate::run::find::find;
use crate::run::hints::{Hints, folder_name, hints};
use crate::run::log::{self, Line};
use crate::run::predictions::PredictionRow;
use crate::run::record::{DatasetRecord, RunRecord};
use crate::run::stop::{Stop, stop};
use crate::run::{CHANGED, RunFolder};

/// A run that has a result, with its metrics and what a board needs besides.
pub struct FinishedRun {
    /// Path of the run folder, as given or as found in a folder given.
    pub folder: PathBuf,
    /// Record of the run, the content of its `run.json`.
    pub record: RunRecord,
    /// Metrics, recomputed from the predictions.
    pub result: RunResult,
    /// Lines of the training log, `metrics.jsonl`; none of an external run.
    pub curve: Vec<Line>,
    /// Counts of each row of the last test, in file order.
    pub counts: Vec<Counts>,
    /// SHA-256 of the ids, tasks and gold labels of the test rows after each task; none where an external run has no
    /// predictions.
    pub tests: Vec<Option<String>>,
}

/// The runs of one label, by seed.
pub type Group = BTreeMap<u64, FinishedRun>;

/// All runs that a report is asked for.
#[derive(Default)]
pub struct Loaded {
    /// The runs that have a result, in the order in which their folders were found.
    pub runs: Vec<FinishedRun>,
    /// The runs that give no number: failed, unfinished or damaged.
    pub absent: Vec<AbsentRun>,
}

/// A run that gives no number, and the benchmark that it belongs to.
pub struct AbsentRun {
    /// Name of the benchmark, if any file of the run says it.
    pub benchmark: Option<String>,
    /// The benchmark, if `run.json` can be read.
    pub dataset: Option<DatasetRecord>,
    /// What a board shows of the run.
    pub absent: Absent,
}

/// Reads the given run folders, and the run folders in any other folder given. A run that cannot be read is one without a
/// number.
///
/// # Errors
/// A folder cannot be read, or holds no run.
pub fn load(given: &[impl AsRef<Path>]) -> Result<Loaded> {
    let folders = find(given)?;
    let mut loaded = Loaded::default();
    for outcome in folders.par_iter().map(|folder| read(folder)).collect::<Vec<_>>() {
        match outcome {
            LoadOutcome::Finished(run) => loaded.runs.push(*run),
            LoadOutcome::Absent(run) => loaded.absent.push(*run),
        }
    }
    Ok(loaded)
}

/// What a run folder holds.
enum LoadOutcome {
    Finished(Box<FinishedRun>),
    Absent(Box<AbsentRun>),
}

/// Reads a run folder: computes the run's metrics, or says why it gives no number.
fn read(path: &Path) -> LoadOutcome {
    let folder = RunFolder::new(path);
    let record = match folder.record() {
        Ok(record) => record,
        Err(error) => return unknown(&folder, &error),
    };
    if let Some(stop) = stop(&folder, &record) {
        return absent(&folder, record, stop);
    }
    finished(&folder, &record).map_or_else(
        |error| {
            let cause = format!("its predictions cannot be used: {error}");
            absent(&folder, record.clone(), Stop { failed: true, cause, log: folder.dir().join("stages") })
        },
        |run| LoadOutcome::Finished(Box::new(run)),
    )
}

/// Computes the metrics of a finished run.
///
/// # Errors
/// A file is missing or damaged, or `result.json` says something else than the predictions.
fn finished(folder: &RunFolder, record: &RunRecord) -> Result<FinishedRun> {
    let stages = score::read_stages(folder, record)?;
    let result = score::score(record, &stages);
    if let Some(contradiction) = RunResult::read(folder)?.contradiction(&result) {
        return Err(folder.error(&format!("{contradiction}; {CHANGED}")));
    }
    let last = stages.last().and_then(Option::as_deref).unwrap_or_default();
    let counts = stage::instances(&record.dataset, stages.len().saturating_sub(1), last);
    let tests = stages.iter().map(|rows| rows.as_deref().map(test)).collect();
    let curve = log::read(&folder.metrics())?;
    Ok(FinishedRun { folder: folder.dir().to_owned(), record: record.clone(), result, curve, counts, tests })
}

/// Returns the SHA-256 of what predictions say of the test rows themselves.
fn test(rows: &[PredictionRow]) -> String {
    let text = |row: &PredictionRow| format!("{:?}\n", (&row.id, row.owner, &row.gold));
    sha256_hex(rows.iter().map(text).collect::<String>().as_bytes())
}

/// Describes a run without a result.
fn absent(folder: &RunFolder, record: RunRecord, stop: Stop) -> LoadOutcome {
    let absent = Absent {
        label: record.label(),
        seed: Some(record.train_seed()),
        kind: if stop.failed { AbsentKind::Failed } else { AbsentKind::Unfinished },
        cause: stop.cause,
        folder: Some(folder.dir().display().to_string()),
        log: Some(stop.log.display().to_string()),
    };
    let benchmark = Some(record.dataset.name.clone());
    LoadOutcome::Absent(Box::new(AbsentRun { benchmark, dataset: Some(record.dataset), absent }))
}

/// Describes a run whose record cannot be read by what its other files say.
fn unknown(folder: &RunFolder, error: &Error) -> LoadOutcome {
    let Hints { benchmark, label, seed } = hints(folder);
    let absent = Absent {
        label: label.unwrap_or_else(|| folder_name(folder.dir())),
        seed,
        kind: AbsentKind::Failed,
        cause: format!("its record cannot be read: {error}"),
        folder: Some(folder.dir().display().to_string()),
        log: None,
    };
    LoadOutcome::Absent(Box::new(AbsentRun { benchmark, dataset: None, absent }))
}
