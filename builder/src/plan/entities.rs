//! Plans entity benchmarks: a sentence belongs to the task of its highest-priority type, and each task masks the tags of
//! other types.

use super::none_rows::NoneRows;
use super::types::{BenchmarkPlan, PlannedLabels, PlannedRow, TaskPlan};
use crate::corpus::{Annotation, Corpus, Extraction, Instance};
use crate::labels::LabelSet;
use crate::protocol::{Masking, Protocol, TaskSpec, Tests};

/// Deals every sentence with an entity to one task, the others as the protocol says, and masks their tags.
pub fn plan(corpus: &Corpus, protocol: &Protocol, tasks: &[TaskSpec]) -> BenchmarkPlan {
    let classes = tasks.iter().map(|task| task.classes.as_slice());
    let labels = LabelSet::number(corpus.spec.task, &corpus.spec.none, classes);
    let planner = Planner { protocol, tasks: tasks.len(), labels: &labels };
    let train = planner.owned_rows(&corpus.train);
    let validation = planner.owned_rows(&corpus.validation);
    let test = planner.owned_rows(&corpus.test);
    let planned = tasks.iter().enumerate().map(|(k, task)| TaskPlan {
        name: task.display_name(),
        classes: task.classes.clone(),
        train: planner.learning_rows(&train, k),
        validation: planner.learning_rows(&validation, k),
        test: planner.test_rows(&test, k),
    });
    BenchmarkPlan { tasks: planned.collect(), labels }
}

struct Planner<'a> {
    protocol: &'a Protocol,
    tasks: usize,
    labels: &'a LabelSet,
}

impl Planner<'_> {
    /// Returns every sentence with its owner and its original tags; dropped types become `O`.
    fn owned_rows(&self, instances: &[Instance]) -> Vec<PlannedRow> {
        let rows = instances.iter().enumerate().filter_map(|(index, instance)| {
            let Annotation::Entities { tags } = &instance.annotation else { return None };
            let original: Vec<usize> = tags.iter().map(|tag| self.labels.id(tag).unwrap_or(0)).collect();
            let types = instance.annotation.classes();
            let owner = self.protocol.priority.iter().find(|class| types.contains(&class.as_str()));
            let owner_task = owner.and_then(|class| self.labels.task_of_class(class));
            Some(PlannedRow { index, owner_task, labels: PlannedLabels::Entities { tags: original.clone(), original } })
        });
        rows.collect()
    }

    /// Returns the training or validation rows of task k, those without entities last.
    fn learning_rows(&self, rows: &[PlannedRow], k: usize) -> Vec<PlannedRow> {
        let keep = |task: usize| match self.protocol.masking.unwrap_or_default() {
            Masking::Current => task == k,
            Masking::Seen => task <= k,
            Masking::Off => true,
        };
        let empty: Vec<&PlannedRow> = rows.iter().filter(|row| row.owner_task.is_none()).collect();
        let policy = self.protocol.none_policy(Extraction::Entities);
        let none_rows = NoneRows { policy, rows: empty.len(), tasks: self.tasks };
        let dealt = none_rows.held_by(k, k).map(|i| PlannedRow { owner_task: none_rows.owner(i), ..empty[i].clone() });
        let owned = rows.iter().filter(|row| row.owner_task == Some(k)).cloned();
        owned.chain(dealt).map(|row| self.masked(row, keep)).collect()
    }

    /// Returns the test rows of task k: all sentences (cumulative) or those that task k owns, with the tags of tasks
    /// `0..=k`.
    fn test_rows(&self, rows: &[PlannedRow], k: usize) -> Vec<PlannedRow> {
        let all = self.protocol.tests == Tests::Cumulative;
        let chosen = rows.iter().filter(|row| all || row.owner_task == Some(k)).cloned();
        chosen.map(|row| self.masked(row, |task| task <= k)).collect()
    }

    /// Replaces by `O` the tags of tasks that `keep` does not want.
    fn masked(&self, mut row: PlannedRow, keep: impl Fn(usize) -> bool) -> PlannedRow {
        if let PlannedLabels::Entities { tags, .. } = &mut row.labels {
            for tag in tags.iter_mut().filter(|tag| self.labels.task(**tag).is_some_and(|task| !keep(task))) {
                *tag = 0;
            }
        }
        row
    }
}
