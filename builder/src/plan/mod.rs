//! Corpus × protocol → tasks. Pure; rules after the published splits of Chen et al. 2024 (zjunlp/ContinueMKGC).

mod ner;
mod re;
#[cfg(test)]
mod tests;
mod types;

use std::ops::Range;

use crate::corpus::{Corpus, TaskKind};
use crate::error::{Error, Result};
use crate::protocol::{NonePolicy, Protocol, TaskSpec};
pub use types::*;

/// Cuts a corpus into the tasks of a protocol; `as_published` leaves out the rows that the published files lack.
///
/// # Errors
/// A protocol that does not fit the corpus, see [`Protocol::tasks`]; an erratum that matches no row.
pub fn plan(corpus: &Corpus, protocol: &Protocol, as_published: bool) -> Result<Plan> {
    let tasks = protocol.tasks(corpus)?;
    let plan = match corpus.kind.task() {
        TaskKind::Re => re::plan(corpus, protocol, &tasks, as_published)?,
        TaskKind::Ner => ner::plan(corpus, protocol, &tasks),
    };
    match plan.tasks.iter().position(|task| task.train.is_empty()) {
        Some(k) => Err(Error::protocol(format!("tasks[{k}]"), "has no training row")),
        None => Ok(plan),
    }
}

/// The name of a task: its own, or the last parts of its class names.
fn task_name(task: &TaskSpec) -> String {
    let short = |class: &String| class.rsplit('/').next().unwrap_or_default().to_owned();
    task.name.clone().unwrap_or_else(|| task.classes.iter().map(short).collect::<Vec<_>>().join("+"))
}

/// Deals the rows without a class to tasks.
struct NoneRows {
    policy: NonePolicy,
    rows: usize,
    tasks: usize,
}

impl NoneRows {
    /// Size of a chunk: ⌈rows / tasks⌉; the last chunk takes what remains.
    fn chunk(&self) -> usize {
        self.rows.div_ceil(self.tasks).max(1)
    }

    /// The range of rows that tasks `from..=to` hold.
    fn of(&self, from: usize, to: usize) -> Range<usize> {
        match self.policy {
            NonePolicy::All => 0..self.rows,
            NonePolicy::Drop => 0..0,
            NonePolicy::Split => (from * self.chunk()).min(self.rows)..((to + 1) * self.chunk()).min(self.rows),
        }
    }

    fn owner(&self, row: usize) -> Option<usize> {
        (self.policy == NonePolicy::Split).then(|| row / self.chunk())
    }
}
