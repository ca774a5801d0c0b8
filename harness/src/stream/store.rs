//! The rows that a method has stored of tasks that it has learned, and the budget that they must keep to.
//!
//! A budget per class counts like that of mkgc's own methods: so many rows for each class of each task, where a sentence
//! with entities of two types may stand for either. Whether the stored rows keep to it is a matching of rows to classes
//! with a capacity, found by augmenting paths.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::message::RowRef;
use super::rows::{LabelledRow, StreamRow};
use crate::run::external::{Budget, Refusal};

/// What identifies a stored row: the same sentence may be stored of two tasks, with the labels of each.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct StoredId {
    /// 0-based task that handed the row out.
    pub task: usize,
    /// Id of the row in the benchmark, e.g. `train-000123`.
    pub id: String,
}

/// The stored rows, in the order in which they were stored.
#[derive(Debug)]
pub struct Store {
    budget: Budget,
    rows: Vec<LabelledRow>,
}

impl Store {
    /// Makes a store without rows.
    pub fn empty(budget: Budget) -> Self {
        Self { budget, rows: Vec::new() }
    }

    /// Makes a store of rows that were stored before.
    ///
    /// # Errors
    /// They are more than the budget allows.
    pub fn new(budget: Budget, rows: Vec<LabelledRow>) -> Result<Self, String> {
        check(budget, &rows)?;
        Ok(Self { budget, rows })
    }

    /// Returns the rows as they are sent.
    pub fn rows(&self) -> Vec<&StreamRow> {
        self.rows.iter().map(|stored| &stored.row).collect()
    }

    /// Returns the number of rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Returns what identifies each row.
    pub fn ids(&self) -> Vec<StoredId> {
        self.rows.iter().map(|row| StoredId { task: row.task, id: row.row.id.clone() }).collect()
    }

    /// Counts the rows that hold each class.
    pub fn by_class(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for class in self.rows.iter().flat_map(|row| &row.classes) {
            *counts.entry(class.clone()).or_default() += 1;
        }
        counts
    }

    /// Stores the rows that are `named`, which are training rows of the task that is learned (`train`) or stored already.
    /// With `replace`, only they stay.
    ///
    /// # Errors
    /// A row is neither, or they would be more than the budget allows; the store stays as it is.
    pub fn remember(
        &mut self,
        named: &[RowRef],
        replace: bool,
        train: &[LabelledRow],
    ) -> Result<(), (Refusal, String)> {
        let chosen = self.chosen(named, train)?;
        let key = |row: &LabelledRow| (row.task, row.row.id.clone());
        let wanted: BTreeSet<_> = chosen.iter().map(|row| key(row)).collect();
        let mut rows = self.rows.clone();
        rows.retain(|row| !replace || wanted.contains(&key(row)));
        let mut known: BTreeSet<_> = rows.iter().map(key).collect();
        rows.extend(chosen.into_iter().filter(|row| known.insert(key(row))).cloned());
        check(self.budget, &rows).map_err(|reason| (Refusal::Budget, reason))?;
        self.rows = rows;
        Ok(())
    }

    /// Finds the rows that are named: those of the task that is learned first, then the stored ones.
    fn chosen<'a>(
        &'a self,
        named: &[RowRef],
        train: &'a [LabelledRow],
    ) -> Result<Vec<&'a LabelledRow>, (Refusal, String)> {
        let mut by_id: BTreeMap<&str, Vec<&LabelledRow>> = BTreeMap::new();
        for row in train.iter().chain(&self.rows) {
            by_id.entry(&row.row.id).or_default().push(row);
        }
        let find = |named: &RowRef| {
            let rows = by_id.get(named.id.as_str()).into_iter().flatten();
            rows.copied().find(|row| named.task.is_none_or(|task| task == row.task))
        };
        let foreign: Vec<&RowRef> = named.iter().filter(|named| find(named).is_none()).collect();
        let Some(first) = foreign.first() else { return Ok(named.iter().filter_map(find).collect()) };
        let reason = format!(
            "{} of {} rows are neither training rows of this task nor stored already, first `{}`; nothing was stored",
            foreign.len(),
            named.len(),
            first.id
        );
        Err((Refusal::Rows, reason))
    }
}

/// Checks that rows keep to a budget.
fn check(budget: Budget, rows: &[LabelledRow]) -> Result<(), String> {
    let stored = rows.len();
    match budget {
        Budget::Nothing if stored > 0 => {
            Err("no row may be stored; give mkgc a budget with --memory-per-class or --memory".to_owned())
        }
        Budget::Total(most) if stored > most => {
            Err(format!("{stored} rows would be stored, and the budget is {most} in all; nothing was stored"))
        }
        Budget::PerClass(most) => per_class(most, rows),
        Budget::All | Budget::Nothing | Budget::Total(_) => Ok(()),
    }
}

fn per_class(most: usize, rows: &[LabelledRow]) -> Result<(), String> {
    let mut places = Places { most, rows, taken: BTreeMap::new() };
    match (0..rows.len()).find(|row| !places.find(*row, &mut BTreeSet::new())) {
        None => Ok(()),
        Some(row) => {
            let LabelledRow { task, row, classes } = &rows[row];
            let classes = classes.iter().map(|class| format!("`{class}`")).collect::<Vec<_>>().join(" and ");
            Err(format!(
                "{classes} of task {} would have more than {most} rows, the budget of each class, with row `{}`; nothing was \
                 stored",
                task + 1,
                row.id
            ))
        }
    }
}

/// Which rows stand for each class of each task.
struct Places<'a> {
    most: usize,
    rows: &'a [LabelledRow],
    taken: BTreeMap<(usize, &'a str), Vec<usize>>,
}

impl<'a> Places<'a> {
    /// Finds a class for a row, for which others may move to another class that they hold. `tried` are classes that have
    /// no place left.
    fn find(&mut self, row: usize, tried: &mut BTreeSet<(usize, &'a str)>) -> bool {
        let LabelledRow { task, classes, .. } = &self.rows[row];
        for class in classes.iter().map(|class| (*task, class.as_str())) {
            if !tried.insert(class) {
                continue;
            }
            let taken = self.taken.entry(class).or_default();
            if taken.len() < self.most {
                taken.push(row);
                return true;
            }
            for (place, other) in taken.clone().into_iter().enumerate() {
                if self.find(other, tried) {
                    self.taken.entry(class).or_default()[place] = row;
                    return true;
                }
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn row(task: usize, id: &str, classes: &[&str]) -> LabelledRow {
        let shown = StreamRow {
            id: id.to_owned(),
            task: Some(task),
            tokens: vec![],
            head: None,
            tail: None,
            relation: None,
            tags: None,
            image_id: None,
            crops: vec![],
        };
        LabelledRow { task, row: shown, classes: classes.iter().map(|class| (*class).to_owned()).collect() }
    }

    fn named(ids: &[&str]) -> Vec<RowRef> {
        ids.iter().map(|id| RowRef { id: (*id).to_owned(), task: None }).collect()
    }

    #[test]
    fn a_budget_per_class_counts_each_task_and_lets_a_row_stand_for_either_class() {
        let train = [row(0, "a", &["A"]), row(0, "b", &["A"]), row(0, "ab", &["A", "B"]), row(0, "c", &["A", "B"])];
        let mut store = Store::empty(Budget::PerClass(2));
        // `ab` stands for A first and has to make room for `a` and `b`.
        store.remember(&named(&["ab", "a", "b", "c"]), false, &train).unwrap();
        assert_eq!((store.len(), store.by_class()), (4, [("A".to_owned(), 4), ("B".to_owned(), 2)].into()));
        let more = [row(1, "d", &["A"]), row(1, "e", &["A"]), row(1, "f", &["A"])];
        store.remember(&named(&["d", "e"]), false, &more).unwrap();
        let (why, reason) = store.remember(&named(&["f"]), false, &more).unwrap_err();
        assert_eq!((why, store.len()), (Refusal::Budget, 6));
        assert!(reason.starts_with("`A` of task 2 would have more than 2 rows"), "{reason}");
    }

    #[test]
    fn a_budget_in_all_is_kept_by_replacing() {
        let train = [row(0, "a", &["A"]), row(0, "b", &["A"])];
        let mut store = Store::empty(Budget::Total(2));
        store.remember(&named(&["a", "b", "a"]), false, &train).unwrap();
        let next = [row(1, "c", &["B"])];
        let refused = store.remember(&named(&["c"]), false, &next).unwrap_err();
        assert!(refused.0 == Refusal::Budget && refused.1.contains("3 rows would be stored"), "{refused:?}");
        store.remember(&named(&["b", "c"]), true, &next).unwrap();
        let ids = [(0, "b"), (1, "c")].map(|(task, id)| StoredId { task, id: id.to_owned() });
        assert_eq!(store.ids(), ids);
        let refused = Store::empty(Budget::Nothing).remember(&named(&["a"]), false, &train).unwrap_err();
        assert!(refused.1.contains("--memory-per-class"), "{refused:?}");
    }

    #[test]
    fn foreign_rows_are_refused_as_a_whole() {
        let mut store = Store::new(Budget::All, vec![row(0, "old", &["A"])]).unwrap();
        assert!(Store::new(Budget::PerClass(1), vec![row(0, "a", &["A"]), row(0, "b", &["A"])]).is_err());
        let train = [row(1, "new", &["B"]), row(1, "old", &["B"])];
        let (why, reason) = store.remember(&named(&["new", "test-1"]), false, &train).unwrap_err();
        assert!(why == Refusal::Rows && reason.contains("1 of 2 rows") && reason.contains("`test-1`"), "{reason}");
        assert_eq!(store.len(), 1);
        // An id alone means the row of this task, an id with a task the row of that one.
        store.remember(&named(&["old"]), false, &train).unwrap();
        store.remember(&[RowRef { id: "old".to_owned(), task: Some(0) }], true, &train).unwrap();
        assert_eq!(store.ids(), [StoredId { task: 0, id: "old".to_owned() }]);
    }
}
