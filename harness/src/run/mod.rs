//! A run is a folder: `run.json` (what was asked for), `metrics.jsonl` and `tensorboard/` (live),
//! `stages/k/predictions.parquet`, `checkpoint/` (to resume an interrupted run), and `result.json`, which is written last
//! and marks the run as finished. `model/` or `stages/k/model/` hold the networks that `--save-model` keeps. A run that ends with an error leaves `failure.json`. A run that was told to stop after
//! some of the tasks keeps its checkpoint beside the result, so that it can learn more tasks later.

pub mod checkpoint;
pub mod external;
pub mod failure;
pub mod find;
mod inputs;
pub(crate) mod json;
pub mod lambda;
pub mod line;
pub mod log;
pub mod predictions;
pub mod record;
pub mod tensorboard;
mod versions;

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::files::{read_json, write_json};
use record::{Cost, RunRecord};

/// The paths of a run.
#[derive(Debug, Clone)]
pub struct RunFolder {
    dir: PathBuf,
}

impl RunFolder {
    /// Names a run folder, which need not exist.
    pub fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    /// Returns the path of the folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Returns the path of `result.json`.
    pub fn result(&self) -> PathBuf {
        self.dir.join("result.json")
    }

    /// Returns the path of `metrics.jsonl`.
    pub fn metrics(&self) -> PathBuf {
        self.dir.join("metrics.jsonl")
    }

    /// Returns the path of `failure.json`.
    pub fn failure(&self) -> PathBuf {
        self.dir.join("failure.json")
    }

    /// Returns the path of `checkpoint/`.
    pub fn checkpoint(&self) -> PathBuf {
        self.dir.join("checkpoint")
    }

    /// Returns the path of `stages/k/predictions.parquet`.
    pub fn predictions(&self, stage: usize) -> PathBuf {
        self.dir.join("stages").join(stage.to_string()).join("predictions.parquet")
    }

    /// Returns the path of `model/`, the network after the last task.
    pub fn model(&self) -> PathBuf {
        self.dir.join("model")
    }

    /// Returns the path of `stages/k/model/`, the network after task k.
    pub fn model_after(&self, stage: usize) -> PathBuf {
        self.dir.join("stages").join(stage.to_string()).join("model")
    }

    /// Counts how many of the first `tasks` tasks have predictions.
    pub fn tasks_learned(&self, tasks: usize) -> usize {
        (0..tasks).take_while(|stage| self.predictions(*stage).exists()).count()
    }

    /// Reads `run.json`, which every run has from its start.
    pub fn record(&self) -> Result<RunRecord> {
        let path = self.dir.join("run.json");
        if !path.exists() {
            return Err(self.error("has no run.json; give a folder that `mkgc train --out` wrote"));
        }
        RunRecord::from_json(read_json(&path)?).map_err(|reason| self.error(&format!("run.json: {reason}")))
    }

    /// Returns whether a run has begun here.
    pub fn started(&self) -> bool {
        self.dir.join("run.json").exists()
    }

    /// Adds the cost of a finished run to `run.json`.
    pub fn charge(&self, record: &RunRecord, cost: Cost) -> Result<()> {
        write_json(&self.dir.join("run.json"), &RunRecord { cost: Some(cost), ..record.clone() })
    }

    /// Creates the folder of a run, or opens that of a run with the same settings, also to learn more tasks than it
    /// was started for.
    pub fn open(&self, record: &RunRecord) -> Result<()> {
        if self.started() {
            let earlier = self.record()?;
            if let Some(what) = earlier.difference(record) {
                let reason = format!("was started with another {what}; choose another --out, or delete the folder");
                return Err(self.error(&reason));
            }
            return self.extend(&earlier, record);
        }
        if self.dir.is_file() {
            return Err(self.error("is a file where a folder is to be made; choose another --out"));
        }
        if self.dir.exists() && fs_err::read_dir(&self.dir)?.next().is_some() {
            return Err(self.error("is not empty and holds no run.json; choose another --out"));
        }
        write_json(&self.dir.join("run.json"), record)
    }

    /// Extends the run to as many tasks as `record` says; a result over fewer tasks is deleted, because it is no
    /// longer one.
    fn extend(&self, earlier: &RunRecord, record: &RunRecord) -> Result<()> {
        let learned = self.tasks_learned(earlier.tasks());
        let tasks = record.tasks();
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

    /// Makes an error about this folder.
    pub fn error(&self, reason: &str) -> Error {
        Error::Run { path: self.dir.clone(), reason: reason.to_owned() }
    }
}
