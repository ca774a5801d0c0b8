//! `failure.json`: why a run ended before its result. It is deleted when the run resumes.

use std::error::Error as _;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::RunFolder;
use super::record::SCHEMA_VERSION;
use crate::error::{Error, Result};
use crate::files::{read_json, write_json};

/// What `failure.json` says of a run that ended with an error: when and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Failure {
    /// Version of the file formats of a run folder, the same as in `run.json`.
    #[schemars(extend("const" = SCHEMA_VERSION))]
    pub schema_version: u32,
    /// Version of the mkgc that the run failed with.
    pub code_version: String,
    /// Number of tasks that the run had learned when it failed.
    pub tasks_learned: usize,
    /// What went wrong, then what that came from.
    pub error: Vec<String>,
}

/// Writes why the run ended, with the causes of the error.
pub fn write(folder: &RunFolder, tasks: usize, error: &Error) -> Result<()> {
    let mut chain = vec![error.to_string()];
    let mut cause = error.source();
    while let Some(error) = cause {
        chain.push(error.to_string());
        cause = error.source();
    }
    // A transparent error says the same as what it wraps.
    chain.dedup();
    let code_version = env!("CARGO_PKG_VERSION").to_owned();
    let tasks_learned = folder.tasks_learned(tasks);
    write_json(
        &folder.failure(),
        &Failure { schema_version: SCHEMA_VERSION, code_version, tasks_learned, error: chain },
    )
}

/// Reads why the run ended; none if it did not end with an error.
pub fn read(folder: &RunFolder) -> Result<Option<Failure>> {
    let path = folder.failure();
    if path.exists() { read_json(&path).map(Some) } else { Ok(None) }
}

/// Deletes `failure.json`, because the run goes on.
pub fn clear(folder: &RunFolder) -> Result<()> {
    let path = folder.failure();
    if path.exists() { Ok(fs_err::remove_file(path)?) } else { Ok(()) }
}
