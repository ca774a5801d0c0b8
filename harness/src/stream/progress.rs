//! `stream.json` in the run folder: how far a stream has come, from which it resumes. It is written after the predictions of
//! each task and before `run.json`, which shows the same to readers.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::store::StoredId;
use crate::error::Result;
use crate::files::{read_json, write_json_durably};
use crate::run::RunFolder;
use crate::run::external::StreamRecord;

/// What `stream.json` holds: what has been dealt out, and which rows are stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StreamProgress {
    /// What `run.json` says of the stream.
    pub record: StreamRecord,
    /// The rows stored after the last task that is done.
    pub stored: Vec<StoredId>,
}

impl StreamProgress {
    /// Reads how far the stream of a folder has come; none if it has none.
    ///
    /// # Errors
    /// The file is damaged.
    pub fn read(folder: &RunFolder) -> Result<Option<Self>> {
        let path = path(folder);
        if path.exists() { read_json(&path).map(Some) } else { Ok(None) }
    }

    /// Writes the file.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn write(&self, folder: &RunFolder) -> Result<()> {
        write_json_durably(&path(folder), self)
    }
}

fn path(folder: &RunFolder) -> PathBuf {
    folder.dir().join("stream.json")
}
