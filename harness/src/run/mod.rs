//! A run is a folder: `run.json` (what was asked for), `metrics.jsonl` and `tensorboard/` (live),
//! `stages/k/predictions.parquet`, `checkpoint/` (to resume an interrupted run), and `result.json`, which is written last
//! and marks the run as finished. `model/` or `stages/k/model/` hold the networks that `--save-model` keeps. A run that ends with an error leaves `failure.json`. A run that was told to stop after
//! some of the tasks keeps its checkpoint beside the result, so that it can learn more tasks later.

pub mod checkpoint;
pub mod external;
pub mod failure;
pub mod find;
pub mod hints;
mod inputs;
pub mod interrupt;
pub(crate) mod json;
pub mod lambda;
pub mod line;
pub mod lock;
pub mod log;
pub mod predictions;
pub mod record;
mod state;
pub mod stop;
pub mod tensorboard;
mod versions;

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::files::{read_json, write_json_durably};
use record::{Cost, RunRecord};

/// What to do about files of a run that contradict each other.
pub const CHANGED: &str =
    "one of them was changed after the run, so take the folder as the run wrote it, or make the run again";

/// What to do about a damaged file of a run.
pub const REMEDY: &str = "restore the file, or delete the folder and make the run again";

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

    /// Returns the path of `lock.json`.
    pub fn lock(&self) -> PathBuf {
        self.dir.join("lock.json")
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

    /// Checks that there is a file of predictions after each task; only an external run may lack some.
    ///
    /// # Errors
    /// A file is missing.
    pub fn check_predictions(&self, record: &RunRecord) -> Result<()> {
        let learned = self.tasks_learned(record.tasks());
        if record.is_external() || learned == record.tasks() {
            return Ok(());
        }
        Err(Error::Usage(format!("{}: is missing; {REMEDY}", self.predictions(learned).display())))
    }

    /// Counts how many of the first `tasks` tasks have predictions.
    pub fn tasks_learned(&self, tasks: usize) -> usize {
        (0..tasks).take_while(|stage| self.predictions(*stage).exists()).count()
    }

    /// Reads `run.json`, which every run has from its start.
    pub fn record(&self) -> Result<RunRecord> {
        let path = self.dir.join("run.json");
        if self.dir.is_symlink() && !self.dir.exists() {
            return Err(self.error("is a symbolic link that leads nowhere; put the run back, or delete the link"));
        }
        if !path.exists() {
            return Err(self.error("has no run.json; give a folder that `mkgc train --out` wrote"));
        }
        let value = read_json(&path).map_err(|error| Error::Usage(format!("{error}; {REMEDY}")))?;
        RunRecord::from_json(value).map_err(|reason| self.error(&format!("run.json: {reason}")))
    }

    /// Returns whether a run has begun here.
    pub fn started(&self) -> bool {
        self.dir.join("run.json").exists()
    }

    /// Adds the cost of a finished run to `run.json`.
    pub fn charge(&self, record: &RunRecord, cost: Cost) -> Result<()> {
        self.write(&RunRecord { cost: Some(cost), ..record.clone() })
    }

    /// Checks that a new run may begin here.
    ///
    /// # Errors
    /// The place is a file, or a folder that holds something else.
    pub fn check_free(&self) -> Result<()> {
        if self.dir.is_file() {
            return Err(self.error("is a file where a folder is to be made; choose another --out"));
        }
        let entries = match fs_err::read_dir(&self.dir) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            entries => entries?,
        };
        for entry in entries {
            // What a process leaves that is killed while it begins a run.
            let name = entry?.file_name().to_string_lossy().into_owned();
            if name != "lock.json" && ![".lock-", ".tmp"].iter().any(|prefix| name.starts_with(prefix)) {
                return Err(self.error("is not empty and holds no run.json; choose another --out"));
            }
        }
        Ok(())
    }

    /// Begins a run, or opens one with the same settings, also to learn more tasks than it was started for. A run that
    /// failed may go on with other settings on which nothing depends that it has learned: any before its first task is
    /// learned, and after that task those of `later`.
    ///
    /// # Errors
    /// The run was started with other settings; the folder cannot be written.
    pub fn open(&self, record: &RunRecord, later: &[&str]) -> Result<()> {
        if !self.started() {
            self.check_free()?;
            return self.write(record);
        }
        let earlier = self.record()?;
        self.check_goes_on(&earlier, record, later)?;
        if earlier.difference(record).is_some() {
            checkpoint::remove_inside(&self.checkpoint())?;
            return self.write(record);
        }
        self.extend(&earlier, record)
    }

    /// Checks that the run of this folder, whose record is `earlier`, may go on as the one of `record`; see
    /// [`RunFolder::open`].
    ///
    /// # Errors
    /// The run was started with other settings, or has learned more tasks; the message says what to do.
    pub fn check_goes_on(&self, earlier: &RunRecord, record: &RunRecord, later: &[&str]) -> Result<()> {
        let learned = self.tasks_learned(earlier.tasks());
        let Some(what) = earlier.difference(record) else {
            let tasks = record.tasks();
            if learned <= tasks {
                return Ok(());
            }
            let reason = format!("has learned {learned} tasks already, and is asked to stop after {tasks}");
            return Err(self.error(&format!("{reason}; choose another --out")));
        };
        if self.failure().exists() && !self.result().exists() && earlier.may_become(record, learned, later) {
            return Ok(());
        }
        let changes = earlier.changes(record).filter(|_| what == "configuration");
        let changes = changes.map_or_else(String::new, |changes| format!(" ({changes})"));
        let depends = if learned > 0 { ", on which the tasks depend that it has learned" } else { "" };
        let reason =
            format!("was started with another {what}{changes}{depends}; choose a new --out, or delete the folder");
        Err(self.error(&reason))
    }

    /// Returns whether the run is finished that `record` asks for.
    ///
    /// # Errors
    /// `run.json` cannot be read.
    pub fn is_finished(&self, record: &RunRecord) -> Result<bool> {
        Ok(self.started() && self.result().exists() && self.record()?.tasks() == record.tasks())
    }

    /// Writes `run.json`, and returns when it has reached the disk.
    fn write(&self, record: &RunRecord) -> Result<()> {
        write_json_durably(&self.dir.join("run.json"), record)
    }

    /// Deletes the checkpoint of a finished run, which a process leaves that is killed just before it would delete it.
    ///
    /// # Errors
    /// The folder cannot be deleted.
    pub fn remove_checkpoint(&self) -> Result<()> {
        match fs_err::remove_dir_all(self.checkpoint()) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            removed => Ok(removed?),
        }
    }

    /// Extends the run to as many tasks as `record` says; a result over fewer tasks is deleted, because it is no
    /// longer one.
    fn extend(&self, earlier: &RunRecord, record: &RunRecord) -> Result<()> {
        if record.tasks() == earlier.tasks() {
            return Ok(());
        }
        if self.result().exists() {
            fs_err::remove_file(self.result())?;
        }
        self.write(record)
    }

    /// Makes an error about this folder.
    pub fn error(&self, reason: &str) -> Error {
        Error::Run { path: self.dir.clone(), reason: reason.to_owned() }
    }
}
