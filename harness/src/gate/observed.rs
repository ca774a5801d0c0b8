//! What runs score, by benchmark, method and kind of device. Nothing is believed that stored predictions do not give.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::baseline::Direction::{self, HigherIsBetter, LowerIsBetter};
use crate::error::{Error, Result};
use crate::metrics::continual::Value;
use crate::metrics::score::{RunResult, score_run};
use crate::run::RunFolder;
use crate::run::record::RunRecord;

/// Metrics of a baseline: scores after the last task, and those over tasks.
pub const METRICS: [(&str, Direction); 7] = [
    ("last_micro_f1", HigherIsBetter),
    ("last_macro_f1", HigherIsBetter),
    ("last_accuracy", HigherIsBetter),
    ("average_incremental_micro_f1", HigherIsBetter),
    ("average_lopezpaz17", HigherIsBetter),
    ("forgetting_chaudhry18", LowerIsBetter),
    ("bwt_lopezpaz17", HigherIsBetter),
];

/// Benchmark, method, kind of device.
pub type Key = (String, String, String);

/// Runs by seed.
pub type BySeed = BTreeMap<u64, Observed>;

/// A run.
pub struct Observed {
    /// Its folder.
    pub folder: PathBuf,
    /// As in [`super::baseline::Entry`].
    pub fingerprints: BTreeMap<String, String>,
    /// Its metrics, or why it has none.
    pub values: std::result::Result<BTreeMap<&'static str, Value>, String>,
}

/// Reads runs; two of one seed cannot be told apart and are refused.
pub fn observe(folders: &[PathBuf]) -> Result<BTreeMap<Key, BySeed>> {
    let mut observed: BTreeMap<Key, BySeed> = BTreeMap::new();
    for path in folders {
        let folder = RunFolder::new(path);
        let record = folder.record()?;
        let device = record.device_kind().to_owned();
        let runs = observed.entry((record.dataset.name.clone(), record.label(), device)).or_default();
        let seed = record.train_seed();
        let run = Observed { folder: path.clone(), fingerprints: fingerprints(&record), values: values(&folder) };
        if let Some(other) = runs.insert(seed, run) {
            let reason =
                format!("is a second run of {} with seed {seed}, beside {}", record.label(), shown(&other.folder));
            return Err(folder.error(&format!("{reason}; leave one out")));
        }
    }
    Ok(observed)
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
    found
}

fn values(folder: &RunFolder) -> std::result::Result<BTreeMap<&'static str, Value>, String> {
    if !folder.result().exists() {
        return Err(format!("{}: not finished (no result.json)", shown(folder.dir())));
    }
    let text = |error: Error| error.to_string();
    let stored = metrics(&RunResult::read(folder).map_err(text)?);
    let derived = metrics(&score_run(folder).map_err(text)?);
    // JSON may round the last bit.
    let same = |one: &Value, other: &Value| match (one.number(), other.number()) {
        (Some(one), Some(other)) => (one - other).abs() < 1e-12,
        (one, other) => one.is_none() && other.is_none(),
    };
    match METRICS.iter().find(|(name, _)| !same(&stored[name], &derived[name])) {
        Some((name, _)) => {
            let (stored, derived) = (&stored[name], &derived[name]);
            let reason = format!("{name} is {stored:?} in result.json, but its predictions give {derived:?}");
            Err(format!("{}: {reason}", shown(folder.dir())))
        }
        None => Ok(derived),
    }
}

fn metrics(result: &RunResult) -> BTreeMap<&'static str, Value> {
    let last = result.stages.last();
    let value = |name: &str| match name {
        "last_micro_f1" | "last_macro_f1" | "last_accuracy" => last.map(|stage| stage.get(&name["last_".len()..])),
        name => result.continual.get(name).cloned(),
    };
    let missing = || Value::Undefined("undefined: not measured".to_owned());
    METRICS.into_iter().map(|(name, _)| (name, value(name).unwrap_or_else(missing))).collect()
}
