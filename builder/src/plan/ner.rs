//! Named-entity recognition: a sentence belongs to the task of its highest-priority type; tags are masked per task.

use std::collections::BTreeMap;

use super::{NoneRows, Plan, PlannedLabels, PlannedRow, TaskPlan, task_name};
use crate::corpus::{Annotation, Corpus, Instance};
use crate::protocol::{Masking, Protocol, TaskSpec, Tests, classes_of};

pub fn plan(corpus: &Corpus, protocol: &Protocol, tasks: &[TaskSpec]) -> Plan {
    let labels = labels(tasks);
    let planner = Planner::new(protocol, tasks, &labels);
    let (train, validation) = (planner.owned(&corpus.train), planner.owned(&corpus.validation));
    let test = planner.owned(&corpus.test);
    let planned = tasks.iter().enumerate().map(|(k, task)| TaskPlan {
        name: task_name(task),
        classes: task.classes.clone(),
        train: planner.learning(&train, k),
        validation: planner.learning(&validation, k),
        test: planner.testing(&test, k),
    });
    Plan { tasks: planned.collect(), labels }
}

/// `O`, then `B-T`, `I-T` for each type in task order.
fn labels(tasks: &[TaskSpec]) -> Vec<String> {
    let types = tasks.iter().flat_map(|task| &task.classes);
    let tags = types.flat_map(|class| [format!("B-{class}"), format!("I-{class}")]);
    std::iter::once("O".to_owned()).chain(tags).collect()
}

struct Planner<'a> {
    protocol: &'a Protocol,
    tasks: usize,
    ids: BTreeMap<&'a str, usize>,
    /// Task of each type.
    home: BTreeMap<&'a str, usize>,
    /// Task of each label id; 0 for `O`, which no mask touches.
    task_of: Vec<usize>,
}

impl<'a> Planner<'a> {
    fn new(protocol: &'a Protocol, tasks: &'a [TaskSpec], labels: &'a [String]) -> Self {
        let home: BTreeMap<&str, usize> = tasks
            .iter()
            .enumerate()
            .flat_map(|(k, task)| task.classes.iter().map(move |class| (class.as_str(), k)))
            .collect();
        let task_of = labels.iter().map(|label| label.split_once('-').map_or(0, |(_, class)| home[class])).collect();
        let ids = labels.iter().enumerate().map(|(id, label)| (label.as_str(), id)).collect();
        Self { protocol, tasks: tasks.len(), ids, home, task_of }
    }

    /// Every sentence with its owner and original tags; dropped types are `O`.
    fn owned(&self, instances: &[Instance]) -> Vec<PlannedRow> {
        let rows = instances.iter().enumerate().filter_map(|(index, instance)| {
            let Annotation::Entities { tags } = &instance.annotation else { return None };
            let original: Vec<usize> =
                tags.iter().map(|tag| self.ids.get(tag.as_str()).copied().unwrap_or(0)).collect();
            let types = classes_of(&instance.annotation);
            let owner = self.protocol.priority.iter().find(|class| types.contains(&class.as_str()));
            let owner_task = owner.map(|class| self.home[class.as_str()]);
            Some(PlannedRow { index, owner_task, labels: PlannedLabels::Entities { tags: original.clone(), original } })
        });
        rows.collect()
    }

    /// Training or validation rows of task k, those without entities last.
    fn learning(&self, rows: &[PlannedRow], k: usize) -> Vec<PlannedRow> {
        let keep = |task: usize| match self.protocol.masking.unwrap_or_default() {
            Masking::Current => task == k,
            Masking::Seen => task <= k,
            Masking::Off => true,
        };
        let empty: Vec<&PlannedRow> = rows.iter().filter(|row| row.owner_task.is_none()).collect();
        let dealt = NoneRows { policy: self.protocol.none_policy(), rows: empty.len(), tasks: self.tasks };
        let dealt_rows = dealt.of(k, k).map(|i| PlannedRow { owner_task: dealt.owner(i), ..empty[i].clone() });
        let owned = rows.iter().filter(|row| row.owner_task == Some(k)).cloned();
        owned.chain(dealt_rows).map(|row| self.masked(row, keep)).collect()
    }

    /// Test rows of task k: all sentences (cumulative) or those task k owns; tags of tasks 0..=k are kept.
    fn testing(&self, rows: &[PlannedRow], k: usize) -> Vec<PlannedRow> {
        let all = self.protocol.tests == Tests::Cumulative;
        let chosen = rows.iter().filter(|row| all || row.owner_task == Some(k)).cloned();
        chosen.map(|row| self.masked(row, |task| task <= k)).collect()
    }

    fn masked(&self, mut row: PlannedRow, keep: impl Fn(usize) -> bool) -> PlannedRow {
        if let PlannedLabels::Entities { tags, .. } = &mut row.labels {
            for tag in tags.iter_mut().filter(|tag| !keep(self.task_of[**tag])) {
                *tag = 0;
            }
        }
        row
    }
}
