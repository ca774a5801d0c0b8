//! Loads runs, keyed by benchmark, method and kind of device. Metrics are always recomputed from the stored predictions.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::key::GateKey;
use crate::error::{Error, Result};
use crate::metrics::score::{RunResult, score_run};
use crate::metrics::value::Value;
use crate::metrics::{MatrixMetric, Metric, StageMetric};
use crate::run::hints::{Hints, folder_name, hints};
use crate::run::record::RunRecord;
use crate::run::stop::{Stop, stop};
use crate::run::{CHANGED, RunFolder};

/// The metrics of a baseline: scores after the last task, and those over all tasks.
pub const METRICS: [Metric; 7] = [
    Metric::Last(StageMetric::MicroF1),
    Metric::Last(StageMetric::MacroF1),
    Metric::Last(StageMetric::Accuracy),
    Metric::AverageIncremental(StageMetric::MicroF1),
    Metric::Matrix(MatrixMetric::AverageOverTasks),
    Metric::Matrix(MatrixMetric::Forgetting),
    Metric::Matrix(MatrixMetric::BackwardTransfer),
];

/// The runs of one key by training seed.
pub type BySeed = BTreeMap<u64, ObservedScores>;

/// The value that a run has of each metric in [`METRICS`].
pub type Values = BTreeMap<Metric, Value>;

/// What a run scored, recomputed from its stored predictions.
pub struct ObservedScores {
    /// Path of the run folder, as the user gave it.
    pub folder: PathBuf,
    /// The same hashes as [`super::baseline::BaselineEntry::fingerprints`].
    pub fingerprints: BTreeMap<String, String>,
    /// The metrics, or why there are none.
    pub values: std::result::Result<Values, String>,
}

/// A run whose record cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// Path of the run folder whose `run.json` cannot be read.
    pub folder: PathBuf,
    /// The benchmark, the method and the kind of device, `unknown` where no file says them.
    pub key: GateKey,
    /// Why it cannot be read.
    pub cause: String,
}

/// The runs that a gate is given.
#[derive(Default)]
pub struct Observations {
    /// The runs by what a baseline names them.
    pub runs: BTreeMap<GateKey, BySeed>,
    /// The runs whose records cannot be read.
    pub unreadable: Vec<Unreadable>,
}

impl Observations {
    /// Returns what a baseline names the runs.
    pub fn into_keys(self) -> impl Iterator<Item = GateKey> {
        self.runs.into_keys()
    }
}

/// Reads runs.
///
/// # Errors
/// Two runs of one key and seed, which cannot be told apart.
pub fn observe(folders: &[PathBuf]) -> Result<Observations> {
    let mut observed = Observations::default();
    for path in folders {
        let folder = RunFolder::new(path);
        let record = match folder.record() {
            Ok(record) => record,
            Err(error) => {
                observed.unreadable.push(unreadable(&folder, &error));
                continue;
            }
        };
        let device = record.device_kind().to_owned();
        let key = GateKey { benchmark: record.dataset.name.clone(), method: record.label(), device };
        let runs = observed.runs.entry(key).or_default();
        let seed = record.train_seed();
        let run = ObservedScores {
            folder: path.clone(),
            fingerprints: fingerprints(&record),
            values: values(&folder, &record),
        };
        if let Some(other) = runs.insert(seed, run) {
            let reason =
                format!("is a second run of {} with seed {seed}, beside {}", record.label(), shown(&other.folder));
            return Err(folder.error(&format!("{reason}; leave one out")));
        }
    }
    Ok(observed)
}

fn unreadable(folder: &RunFolder, error: &Error) -> Unreadable {
    let Hints { benchmark, label, .. } = hints(folder);
    let unknown = || "unknown".to_owned();
    let method = label.unwrap_or_else(|| folder_name(folder.dir()));
    let key = GateKey { benchmark: benchmark.unwrap_or_else(unknown), method, device: unknown() };
    Unreadable { folder: folder.dir().to_owned(), key, cause: format!("its record cannot be read: {error}") }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn fingerprints(record: &RunRecord) -> BTreeMap<String, String> {
    let mut found = BTreeMap::from([("data".to_owned(), record.dataset.fingerprint.clone())]);
    if let Some(identity) = record.encoder_identity() {
        found.insert("encoder".to_owned(), identity.to_owned());
    }
    if let Some(vision) = record.vision() {
        found.insert("vision".to_owned(), vision.encoder.identity.clone());
    }
    let text = record.trained().map(|trained| ("encoder", &trained.encoder));
    let vision = record.vision().map(|vision| ("vision", &vision.encoder));
    for (name, encoder) in text.into_iter().chain(vision) {
        found.extend(encoder.further().map(|(of, hash)| (format!("{name}_{of}"), hash.clone())));
    }
    found
}

/// Recomputes the metrics, and refuses a `result.json` that says something else.
fn values(folder: &RunFolder, record: &RunRecord) -> std::result::Result<Values, String> {
    if let Some(Stop { failed, cause, .. }) = stop(folder, record) {
        let what = if failed { "failed" } else { "not finished" };
        return Err(format!("{}: {what}: {cause}", shown(folder.dir())));
    }
    let text = |error: Error| error.to_string();
    let stored = RunResult::read(folder).map_err(text)?;
    let derived = score_run(folder).map_err(text)?;
    match stored.contradiction(&derived) {
        Some(contradiction) => Err(format!("{}: {contradiction}; {CHANGED}", shown(folder.dir()))),
        None => Ok(metrics(&derived)),
    }
}

fn metrics(result: &RunResult) -> Values {
    let value = |metric: Metric| match metric {
        // Results of older versions hold these with the stages alone.
        Metric::Last(last) => result.stages.last().map(|stage| stage.get(last)),
        metric => result.continual.get(&metric).cloned(),
    };
    let missing = || Value::undefined("not measured");
    METRICS.into_iter().map(|metric| (metric, value(metric).unwrap_or_else(missing))).collect()
}
