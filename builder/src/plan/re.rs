//! Relation extraction: the rows of a task's relations in file order, then its share of the `None` rows.

use std::collections::BTreeMap;

use super::{NoneRows, Plan, PlannedLabels, PlannedRow, TaskPlan, task_name};
use crate::corpus::{Annotation, Corpus, Instance, Split};
use crate::error::{Error, Result};
use crate::protocol::{Protocol, TaskSpec, Tests};

pub fn plan(corpus: &Corpus, protocol: &Protocol, tasks: &[TaskSpec], as_published: bool) -> Result<Plan> {
    let classes = tasks.iter().flat_map(|task| task.classes.iter().cloned());
    let labels: Vec<String> = std::iter::once("None".to_owned()).chain(classes).collect();
    let train = Rows::new(&corpus.train, protocol, tasks, &labels);
    let validation = Rows::new(&corpus.validation, protocol, tasks, &labels);
    let test = Rows::new(&corpus.test, protocol, tasks, &labels);
    let from = |k: usize| if protocol.tests == Tests::Cumulative { 0 } else { k };
    let planned = tasks.iter().enumerate().map(|(k, task)| TaskPlan {
        name: task_name(task),
        classes: task.classes.clone(),
        train: train.of(k, k),
        validation: validation.of(k, k),
        test: test.of(from(k), k),
    });
    let mut plan = Plan { labels, tasks: planned.collect() };
    if as_published {
        leave_out_errata(&mut plan, corpus, protocol)?;
    }
    Ok(plan)
}

/// The rows of one split by owner.
struct Rows {
    related: Vec<PlannedRow>,
    none: Vec<PlannedRow>,
    dealt: NoneRows,
}

impl Rows {
    fn new(instances: &[Instance], protocol: &Protocol, tasks: &[TaskSpec], labels: &[String]) -> Self {
        let ids: BTreeMap<&str, usize> = labels.iter().enumerate().map(|(id, label)| (label.as_str(), id)).collect();
        let home: BTreeMap<&str, usize> = tasks
            .iter()
            .enumerate()
            .flat_map(|(k, task)| task.classes.iter().map(move |class| (class.as_str(), k)))
            .collect();
        let (mut related, mut none) = (Vec::new(), Vec::new());
        for (index, instance) in instances.iter().enumerate() {
            let Annotation::Relation { relation, .. } = &instance.annotation else { continue };
            // A dropped class has no id.
            let Some(&id) = ids.get(relation.as_str()) else { continue };
            let labels = PlannedLabels::Relation { relation: id, original: id };
            let owner_task = home.get(relation.as_str()).copied();
            if id == 0 { &mut none } else { &mut related }.push(PlannedRow { index, owner_task, labels });
        }
        let dealt = NoneRows { policy: protocol.none_policy(), rows: none.len(), tasks: tasks.len() };
        for (i, row) in none.iter_mut().enumerate() {
            row.owner_task = dealt.owner(i);
        }
        Self { related, none, dealt }
    }

    fn of(&self, from: usize, to: usize) -> Vec<PlannedRow> {
        let owned = |row: &&PlannedRow| row.owner_task.is_some_and(|owner| (from..=to).contains(&owner));
        let none = &self.none[self.dealt.of(from, to)];
        self.related.iter().filter(owned).chain(none).cloned().collect()
    }
}

fn leave_out_errata(plan: &mut Plan, corpus: &Corpus, protocol: &Protocol) -> Result<()> {
    for (i, erratum) in protocol.errata.iter().enumerate() {
        let lost = |instance: &Instance| instance.row == erratum.row && instance.image == erratum.image;
        let instances = corpus.split(erratum.split);
        for &k in &erratum.tasks {
            let key = format!("errata[{i}]");
            let task = plan.tasks.get_mut(k).ok_or_else(|| Error::protocol(&key, format!("there is no task {k}")))?;
            let rows = match erratum.split {
                Split::Train => &mut task.train,
                Split::Validation => &mut task.validation,
                Split::Test => &mut task.test,
            };
            let matching = rows.iter().filter(|row| lost(&instances[row.index])).count();
            if matching != 1 {
                return Err(Error::protocol(key, format!("matches {matching} rows of task {k}, expected one")));
            }
            rows.retain(|row| !lost(&instances[row.index]));
        }
    }
    Ok(())
}
