//! Plans relation benchmarks: a task holds the rows of its relations in file order, then its share of the rows without a
//! relation.

use super::none_rows::NoneRows;
use super::types::{BenchmarkPlan, PlannedRow, TaskPlan};
use crate::corpus::{Annotation, Corpus, Extraction, Instance, Split};
use crate::error::{Error, Result};
use crate::labels::LabelSet;
use crate::protocol::{Masking, Protocol, TaskSpec, Tests};

/// Deals every row with a relation to the task of the relation, and the others as the protocol says.
pub fn plan(corpus: &Corpus, protocol: &Protocol, tasks: &[TaskSpec], as_published: bool) -> Result<BenchmarkPlan> {
    let classes = tasks.iter().map(|task| task.classes.as_slice());
    let labels = LabelSet::number(corpus.spec.task, corpus.spec.none_label(), classes);
    let [train, validation, test] =
        Split::ALL.map(|split| OwnedRows::new(corpus.split(split), protocol, &labels, tasks.len()));
    let first_tested = |k: usize| if protocol.tests == Tests::Cumulative { 0 } else { k };
    let names = TaskSpec::display_names(tasks);
    let planned = tasks.iter().zip(names).enumerate().map(|(k, (task, name))| TaskPlan {
        name,
        classes: task.classes.clone(),
        train: train.held_by(k, k),
        validation: validation.held_by(k, k),
        test: test.held_by(first_tested(k), k),
    });
    let mut plan = BenchmarkPlan { tasks: planned.collect(), masking: Masking::Off, labels };
    if as_published {
        leave_out_errata(&mut plan, corpus, protocol)?;
    }
    Ok(plan)
}

/// The rows of one split, with and without a relation, in file order.
struct OwnedRows {
    related: Vec<PlannedRow>,
    none: Vec<PlannedRow>,
    none_rows: NoneRows,
}

impl OwnedRows {
    fn new(instances: &[Instance], protocol: &Protocol, labels: &LabelSet, tasks: usize) -> Self {
        let mut related = Vec::new();
        let mut none = Vec::new();
        for (index, instance) in instances.iter().enumerate() {
            let Annotation::Relation(of) = &instance.annotation else { continue };
            let id = of.relation.as_ref().map_or(Some(0), |relation| labels.id(relation));
            // A relation that the protocol drops has no id.
            let Some(id) = id else { continue };
            let rows = if id == 0 { &mut none } else { &mut related };
            rows.push(PlannedRow { index, owner_task: labels.task(id) });
        }
        let none_rows = NoneRows { policy: protocol.none_policy(Extraction::Relations), rows: none.len(), tasks };
        for (i, row) in none.iter_mut().enumerate() {
            row.owner_task = none_rows.owner(i);
        }
        Self { related, none, none_rows }
    }

    /// Returns the rows of tasks `from..=to`.
    fn held_by(&self, from: usize, to: usize) -> Vec<PlannedRow> {
        let owned = |row: &&PlannedRow| row.owner_task.is_some_and(|owner| (from..=to).contains(&owner));
        let none = &self.none[self.none_rows.held_by(from, to)];
        self.related.iter().filter(owned).chain(none).copied().collect()
    }
}

fn leave_out_errata(plan: &mut BenchmarkPlan, corpus: &Corpus, protocol: &Protocol) -> Result<()> {
    for (i, erratum) in protocol.errata.iter().enumerate() {
        let lost =
            |instance: &Instance| instance.row == erratum.row && instance.image.as_deref() == Some(&*erratum.image);
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
