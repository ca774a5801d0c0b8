//! `failure.json`: why a run ended before its result. Gone when the run goes on.

use std::error::Error as _;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::record::SCHEMA_VERSION;
use super::{RunFolder, read_json, write_json};
use crate::error::{Error, Result};

/// The contents of `failure.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Failure {
    /// Version of this file.
    #[schemars(extend("const" = SCHEMA_VERSION))]
    pub schema_version: u32,
    /// Version of mkgc.
    pub code_version: String,
    /// Tasks learned before it.
    pub tasks_learned: usize,
    /// What went wrong, then what that came from.
    pub error: Vec<String>,
}

/// Writes down why the run ended.
pub fn write(folder: &RunFolder, tasks: usize, error: &Error) -> Result<()> {
    let mut chain = vec![error.to_string()];
    let mut cause = error.source();
    while let Some(error) = cause {
        chain.push(error.to_string());
        cause = error.source();
    }
    // A transparent error says the same as what it wraps.
    chain.dedup();
    let (code_version, tasks_learned) = (env!("CARGO_PKG_VERSION").to_owned(), folder.tasks_learned(tasks));
    write_json(
        &folder.failure(),
        &Failure { schema_version: SCHEMA_VERSION, code_version, tasks_learned, error: chain },
    )
}

/// What was written down, if anything.
pub fn read(folder: &RunFolder) -> Result<Option<Failure>> {
    let path = folder.failure();
    if path.exists() { read_json(&path).map(Some) } else { Ok(None) }
}

/// Forgets it: the run goes on.
pub fn clear(folder: &RunFolder) -> Result<()> {
    let path = folder.failure();
    if path.exists() { Ok(fs_err::remove_file(path)?) } else { Ok(()) }
}
