//! Why a run gives no number: it failed, its files are damaged, or it is not finished.

use std::path::PathBuf;

use serde_json::Value;

use super::record::{RunRecord, SCHEMA_VERSION};
use super::{REMEDY, RunFolder, failure, log};
use crate::error::{Error, Result};
use crate::files::read_json;

/// Why a run has no result that can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stop {
    /// Whether the run ended with an error or a file of it is damaged; otherwise it can go on as it is.
    pub failed: bool,
    /// What happened to the run, in words for people.
    pub cause: String,
    /// The file that says more.
    pub log: PathBuf,
}

/// Says why a run has no result, or `None` if it has one.
pub fn stop(folder: &RunFolder, record: &RunRecord) -> Option<Stop> {
    let failed = |cause: String, log: PathBuf| Some(Stop { failed: true, cause, log });
    if folder.result().exists() {
        let error = check_result(folder, record).err()?;
        return failed(format!("its result cannot be used: {error}"), folder.result());
    }
    let tasks = record.tasks();
    match failure::read(folder) {
        Ok(None) => {}
        Ok(Some(failure)) => {
            let cause = format!("in task {} of {tasks}: {}", failure.tasks_learned + 1, failure.error.join(": "));
            return failed(cause, folder.failure());
        }
        Err(error) => {
            let cause = format!("the run ended with an error, but what it says of it cannot be read: {error}");
            return failed(cause, folder.failure());
        }
    }
    if record.stream().is_some() {
        let learned = folder.tasks_learned(tasks);
        let cause = format!("predictions of {learned} of {tasks} tasks; go on with `mkgc stream` on the same folder");
        return Some(Stop { failed: false, cause, log: folder.dir().join("run.json") });
    }
    let lines = match log::read(&folder.metrics()) {
        Ok(lines) => lines,
        Err(error) => return failed(error.to_string(), folder.metrics()),
    };
    let place = lines.last().map_or_else(
        || "its metrics.jsonl is empty".to_owned(),
        |line| format!("its metrics.jsonl ends in task {} of {tasks}, step {}", line.stage + 1, line.step),
    );
    let cause = format!("{place}; go on with `mkgc train` on the same folder");
    Some(Stop { failed: false, cause, log: folder.metrics() })
}

/// Checks that `result.json` is whole and of this run, and that the predictions are there. Its scores are derived from them
/// again, so they are not read.
///
/// # Errors
/// A file is missing, damaged or of another run; the message says what to do.
pub fn check_result(folder: &RunFolder, record: &RunRecord) -> Result<()> {
    let path = folder.result();
    let bad = |reason: String| Error::Usage(format!("{}: {reason}; {REMEDY}", path.display()));
    let result: Value = read_json(&path).map_err(|error| Error::Usage(format!("{error}; {REMEDY}")))?;
    let result = result.as_object().ok_or_else(|| bad("holds no table of keys and values".to_owned()))?;
    let dataset = &record.dataset;
    let known = [
        ("method", Value::from(record.method.as_str())),
        ("benchmark", dataset.name.as_str().into()),
        ("fingerprint", dataset.fingerprint.as_str().into()),
        ("train_seed", record.train_seed().into()),
    ];
    for (key, expected) in known {
        if let Some(said) = result.get(key).filter(|said| **said != expected) {
            return Err(bad(format!("is of another run: its {key} is {said}, and run.json has {expected}")));
        }
    }
    match result.get("schema_version").and_then(Value::as_u64) {
        Some(version) if version > u64::from(SCHEMA_VERSION) => {
            let versions = format!("schema version {version}, this mkgc reads 1 to {SCHEMA_VERSION}");
            Err(Error::Usage(format!("{}: {versions}; use a later mkgc", path.display())))
        }
        _ => folder.check_predictions(record),
    }
}
