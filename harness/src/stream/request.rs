//! What to deal out, and to whom.

use std::path::PathBuf;
use std::time::Duration;

use crate::run::external::Budget;

/// What to deal out, to whom, and what to record of the method.
#[derive(Debug, Clone)]
pub struct StreamRequest {
    /// Benchmark folder that `mkgc build` wrote.
    pub benchmark: PathBuf,
    /// Run folder to create or resume.
    pub out: PathBuf,
    /// Name of the method in reports.
    pub name: String,
    /// What the method is, in words; `run.json` keeps it.
    pub description: Option<String>,
    /// Address of a page about the method.
    pub url: Option<String>,
    /// Command of the shell that starts the method; without it, the process that started mkgc is the method.
    pub command: Option<String>,
    /// Which rows the method may store.
    pub memory: Budget,
    /// Seed that the method is told to use.
    pub train_seed: u64,
    /// Number of tasks after which the run stops; all without it.
    pub tasks: Option<usize>,
    /// How long the method may take until its next message; for ever without it.
    pub timeout: Option<Duration>,
}
