//! The rules of `splits/README.md`, applied to a case row by row.

use std::collections::{BTreeMap, BTreeSet};

use mkgc_builder::corpus::{Extraction, Split};
use mkgc_builder::plan::{BenchmarkPlan, PlannedLabels, PlannedRow};

use crate::case::Case;

impl Case {
    /// Returns the task of each class, given the tasks of a plan.
    fn task_of(&self, plan: &BenchmarkPlan) -> BTreeMap<usize, usize> {
        let class = |name: &String| self.names.iter().position(|known| known == name).unwrap();
        let tasks = plan.tasks.iter().enumerate();
        tasks.flat_map(|(k, task)| task.classes.iter().map(move |name| (class(name), k))).collect()
    }

    /// Returns the classes that own sentences, first to last.
    fn owners(&self) -> Vec<usize> {
        let rows = |class: &usize| self.rows.iter().flatten().filter(|row| row.contains(&(class + 1))).count();
        self.priority.clone().unwrap_or_else(|| {
            let mut rarest = self.kept.clone();
            rarest.sort_by_key(|class| (rows(class), self.names[*class].clone()));
            rarest
        })
    }

    /// Returns the rows of a split that a class owns, with the task of the class, and those without a class.
    pub fn dealt(&self, plan: &BenchmarkPlan, split: usize) -> (Vec<PlannedRow>, Vec<usize>) {
        let tasks = self.task_of(plan);
        let owners = self.owners();
        let mut owned = Vec::new();
        let mut none = Vec::new();
        for (index, row) in self.rows[split].iter().enumerate() {
            let owner = owners.iter().find(|class| row.contains(&(*class + 1)));
            // A relation row of a dropped class is gone, while a sentence stays without the tags of the class.
            let gone = self.kind == Extraction::Relations && row[0] > 0;
            match owner {
                Some(class) => owned.push(PlannedRow { index, owner_task: Some(tasks[class]) }),
                None if !gone => none.push(index),
                None => {}
            }
        }
        (owned, none)
    }

    /// Returns the rule for rows without a class, which has a default.
    pub fn none_policy(&self) -> &'static str {
        self.none.unwrap_or(if self.kind == Extraction::Relations { "split" } else { "drop" })
    }

    /// Returns the rows without a class that a task gets.
    fn none_rows(&self, none: &[usize], task: usize) -> Vec<PlannedRow> {
        let (rows, owner_task) = match self.none_policy() {
            "split" => {
                let chunk = none.len().div_ceil(self.tasks).max(1);
                (none.chunks(chunk).nth(task).unwrap_or_default(), Some(task))
            }
            "all" => (none, None),
            _ => (&[][..], None),
        };
        rows.iter().map(|index| PlannedRow { index: *index, owner_task }).collect()
    }

    /// Returns the rows that the rules give to a split of a task.
    pub fn expected(&self, plan: &BenchmarkPlan, split: Split, task: usize) -> Vec<PlannedRow> {
        let (owned, none) = self.dealt(plan, split as usize);
        let cumulative = split == Split::Test && !self.per_task;
        if split == Split::Test && self.kind == Extraction::Entities {
            // Every sentence, whatever it has.
            let mut all = owned;
            all.extend(none.iter().map(|index| PlannedRow { index: *index, owner_task: None }));
            all.retain(|row| cumulative || row.owner_task == Some(task));
            all.sort_by_key(|row| row.index);
            return all;
        }
        let first = if cumulative { 0 } else { task };
        let own = owned.into_iter().filter(|row| row.owner_task.is_some_and(|owner| (first..=task).contains(&owner)));
        let mut rows: Vec<PlannedRow> = own.collect();
        let mut none: Vec<PlannedRow> = (first..=task).flat_map(|task| self.none_rows(&none, task)).collect();
        // Every task may hold all of them, in which case a cumulative test has each once.
        let mut known = BTreeSet::new();
        none.retain(|row| known.insert(row.index));
        rows.append(&mut none);
        rows
    }

    /// Returns the ids of the tags that a task shows of a sentence, and of those that the corpus has.
    pub fn tags(&self, plan: &BenchmarkPlan, split: Split, task: usize, row: &[usize]) -> PlannedLabels {
        let tasks = self.task_of(plan);
        let id = |class: &usize| class.checked_sub(1).filter(|class| tasks.contains_key(class));
        let label = |class: usize| plan.labels.id(&format!("B-{}", self.names[class])).unwrap();
        let shown = |class: &usize| match (split, self.masking.unwrap_or("current")) {
            (Split::Test, _) | (_, "seen") => tasks[class] <= task,
            (_, "current") => tasks[class] == task,
            _ => true,
        };
        PlannedLabels::Entities {
            tags: row.iter().map(|class| id(class).filter(shown).map_or(0, label)).collect(),
            original: row.iter().map(|class| id(class).map_or(0, label)).collect(),
        }
    }
}
