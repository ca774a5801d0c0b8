//! A run is a folder: `run.json` (what was asked for), `metrics.jsonl` and `tensorboard/` (live),
//! `stages/k/predictions.parquet`, `checkpoint/` (to go on after an interruption), and `result.json`, written last: the
//! done marker. A run that ends with an error leaves `failure.json`. A run that was told to stop after some of the tasks
//! keeps its checkpoint beside the result, so that it can go on to more.

pub mod checkpoint;
pub mod external;
pub mod failure;
pub mod find;
pub mod lambda;
pub mod ledger;
pub mod log;
pub mod predictions;
pub mod record;
pub mod tensorboard;

use std::path::{Path, PathBuf};

pub use mkgc_builder::files::write_atomically;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};
use record::{Cost, RunRecord};

/// The paths of a run.
#[derive(Debug, Clone)]
pub struct RunFolder {
    dir: PathBuf,
}

impl RunFolder {
    /// A run folder, whether or not it exists.
    pub fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    /// The folder itself.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// `result.json`.
    pub fn result(&self) -> PathBuf {
        self.dir.join("result.json")
    }

    /// `metrics.jsonl`.
    pub fn metrics(&self) -> PathBuf {
        self.dir.join("metrics.jsonl")
    }

    /// `failure.json`.
    pub fn failure(&self) -> PathBuf {
        self.dir.join("failure.json")
    }

    /// `checkpoint`.
    pub fn checkpoint(&self) -> PathBuf {
        self.dir.join("checkpoint")
    }

    /// `stages/k/predictions.parquet`.
    pub fn predictions(&self, stage: usize) -> PathBuf {
        self.dir.join("stages").join(stage.to_string()).join("predictions.parquet")
    }

    /// Of the first `tasks` tasks, how many have predictions.
    pub fn tasks_learned(&self, tasks: usize) -> usize {
        (0..tasks).take_while(|stage| self.predictions(*stage).exists()).count()
    }

    /// `run.json`, which every run has from its start.
    pub fn record(&self) -> Result<RunRecord> {
        let path = self.dir.join("run.json");
        if !path.exists() {
            return Err(self.error("has no run.json; give a folder that `mkgc train --out` wrote"));
        }
        RunRecord::from_json(read_json(&path)?).map_err(|reason| self.error(&format!("run.json: {reason}")))
    }

    /// Has a run begun here?
    pub fn started(&self) -> bool {
        self.dir.join("run.json").exists()
    }

    /// Adds what a finished run cost.
    pub fn charge(&self, record: &RunRecord, cost: Cost) -> Result<()> {
        write_json(&self.dir.join("run.json"), &RunRecord { cost: Some(cost), ..record.clone() })
    }

    /// Starts the run, or goes on with one of the same settings, also to more tasks than it was started for.
    pub fn open(&self, record: &RunRecord) -> Result<()> {
        if self.started() {
            let earlier = self.record()?;
            if let Some(what) = earlier.difference(record) {
                let reason = format!("was started with another {what}; choose another --out, or delete the folder");
                return Err(self.error(&reason));
            }
            return self.extend(&earlier, record);
        }
        if self.dir.exists() && fs_err::read_dir(&self.dir)?.next().is_some() {
            return Err(self.error("is not empty and holds no run.json; choose another --out"));
        }
        fs_err::create_dir_all(&self.dir)?;
        write_json(&self.dir.join("run.json"), record)
    }

    /// Lets the run go on to as many tasks as `record` says; a result over fewer is no result any more.
    fn extend(&self, earlier: &RunRecord, record: &RunRecord) -> Result<()> {
        let (learned, tasks) = (self.tasks_learned(earlier.tasks()), record.tasks());
        if tasks < learned {
            let reason = format!("has learned {learned} tasks already, and --tasks {tasks} asks for fewer");
            return Err(self.error(&format!("{reason}; choose another --out")));
        }
        if tasks == earlier.tasks() {
            return Ok(());
        }
        if self.result().exists() {
            fs_err::remove_file(self.result())?;
        }
        write_json(&self.dir.join("run.json"), record)
    }

    /// An error about this folder.
    pub fn error(&self, reason: &str) -> Error {
        Error::Run { path: self.dir.clone(), reason: reason.to_owned() }
    }
}

/// Reads a JSON file; errors carry its path.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let text = fs_err::read_to_string(path)?;
    serde_json::from_str(&text).map_err(|error| Error::Usage(format!("{}: {error}", path.display())))
}

/// Writes pretty JSON to a temporary sibling and renames it in.
pub fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let mut text = serde_json::to_string_pretty(value)?;
    text.push('\n');
    Ok(write_atomically(path, text.as_bytes())?)
}
