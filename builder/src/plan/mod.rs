//! Cuts a corpus into the tasks of a protocol. Pure: nothing here reads or writes a file. The rules are those of the
//! published splits of Chen et al. 2024 (zjunlp/ContinueMKGC).

mod entities;
mod none_rows;
mod relations;
#[cfg(test)]
mod tests;
mod types;

use crate::corpus::{Corpus, Extraction};
use crate::error::{Error, Result};
use crate::protocol::Protocol;
pub use types::{BenchmarkPlan, PlannedLabels, PlannedRow, TaskPlan};

/// Cuts a corpus into the tasks of a protocol. `as_published` leaves out the rows that the published files lack.
///
/// # Errors
/// The protocol does not fit the corpus, see [`Protocol::tasks`]; an erratum matches no row; a task has no training row.
pub fn plan(corpus: &Corpus, protocol: &Protocol, as_published: bool) -> Result<BenchmarkPlan> {
    let tasks = protocol.tasks(corpus)?;
    let plan = match corpus.spec.task {
        Extraction::Relations => relations::plan(corpus, protocol, &tasks, as_published)?,
        Extraction::Entities => entities::plan(corpus, protocol, &tasks),
    };
    match plan.tasks.iter().position(|task| task.train.is_empty()) {
        Some(k) => Err(Error::protocol(format!("tasks[{k}]"), "has no training row")),
        None => Ok(plan),
    }
}
