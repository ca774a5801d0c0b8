//! Plans entity benchmarks: a sentence belongs to the task of its highest-priority type.

use super::none_rows::NoneRows;
use super::types::{BenchmarkPlan, PlannedRow, TaskPlan};
use crate::corpus::{Corpus, Extraction, Instance};
use crate::labels::LabelSet;
use crate::protocol::{Protocol, TaskSpec, Tests};

/// Deals every sentence with an entity to one task, and the others as the protocol says.
pub fn plan(corpus: &Corpus, protocol: &Protocol, tasks: &[TaskSpec]) -> BenchmarkPlan {
    let classes = tasks.iter().map(|task| task.classes.as_slice());
    let labels = LabelSet::number(corpus.spec.task, corpus.spec.none_label(), classes);
    let priority = protocol.priorities(corpus);
    let planner = Planner { protocol, priority: &priority, tasks: tasks.len(), labels: &labels };
    let train = planner.owned_rows(&corpus.train);
    let validation = planner.owned_rows(&corpus.validation);
    let test = planner.owned_rows(&corpus.test);
    let names = TaskSpec::display_names(tasks);
    let planned = tasks.iter().zip(names).enumerate().map(|(k, (task, name))| TaskPlan {
        name,
        classes: task.classes.clone(),
        train: planner.learning_rows(&train, k),
        validation: planner.learning_rows(&validation, k),
        test: planner.test_rows(&test, k),
    });
    BenchmarkPlan { tasks: planned.collect(), masking: protocol.masking.unwrap_or_default(), labels }
}

struct Planner<'a> {
    protocol: &'a Protocol,
    /// Entity types, the one that owns a sentence first.
    priority: &'a [String],
    tasks: usize,
    labels: &'a LabelSet,
}

impl Planner<'_> {
    /// Returns every sentence with its owner.
    fn owned_rows(&self, instances: &[Instance]) -> Vec<PlannedRow> {
        let row = |(index, instance): (usize, &Instance)| {
            let types = instance.annotation.classes();
            let owner = self.priority.iter().find(|class| types.contains(&class.as_str()));
            PlannedRow { index, owner_task: owner.and_then(|class| self.labels.task_of_class(class)) }
        };
        instances.iter().enumerate().map(row).collect()
    }

    /// Returns the training or validation rows of task k, those without entities last.
    fn learning_rows(&self, rows: &[PlannedRow], k: usize) -> Vec<PlannedRow> {
        let empty: Vec<PlannedRow> = rows.iter().filter(|row| row.owner_task.is_none()).copied().collect();
        let policy = self.protocol.none_policy(Extraction::Entities);
        let none_rows = NoneRows { policy, rows: empty.len(), tasks: self.tasks };
        let dealt = none_rows.held_by(k, k).map(|i| PlannedRow { owner_task: none_rows.owner(i), ..empty[i] });
        let owned = rows.iter().filter(|row| row.owner_task == Some(k)).copied();
        owned.chain(dealt).collect()
    }

    /// Returns the test rows of task k: all sentences (cumulative) or those that task k owns.
    fn test_rows(&self, rows: &[PlannedRow], k: usize) -> Vec<PlannedRow> {
        let all = self.protocol.tests == Tests::Cumulative;
        rows.iter().filter(|row| all || row.owner_task == Some(k)).copied().collect()
    }
}
