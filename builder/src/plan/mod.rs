//! Cuts a corpus into the tasks of a protocol. Pure: nothing here reads or writes a file. The rules are those of the
//! published splits of Chen et al. 2024 (zjunlp/ContinueMKGC).

mod entities;
mod none_rows;
mod relations;
#[cfg(test)]
mod tests;
mod types;

use crate::corpus::{Corpus, Extraction, Instance, Split};
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
        Some(k) => {
            let reason = no_training_row(corpus, protocol, &plan.tasks[k].classes);
            Err(Error::protocol(protocol.task_key(k), reason))
        }
        None => Ok(plan),
    }
}

/// Says why a task has no training row.
fn no_training_row(corpus: &Corpus, protocol: &Protocol, classes: &[String]) -> String {
    let of_task = |instance: &Instance| instance.annotation.classes().iter().any(|class| is_in(classes, class));
    let count = |split| corpus.split(split).iter().filter(|instance| of_task(instance)).count();
    let [train, validation, test] = Split::ALL.map(count);
    let cause = if train > 0 {
        // Only an entity type can lose its rows to another one.
        let first = protocol.priorities(corpus).join(", ");
        format!("each of its {train} training sentences belongs to a type that comes first in `priority` ({first})")
    } else if validation + test > 0 {
        format!("the training file has none; validation has {validation} and test {test}")
    } else {
        "no file of the corpus has any".to_owned()
    };
    format!("has no training row of {}: {cause}", classes.join(", "))
}

fn is_in(classes: &[String], class: &str) -> bool {
    classes.iter().any(|known| known == class)
}
