//! Fits a protocol to the classes that a corpus has: which task introduces which.

use std::collections::BTreeMap;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::{Protocol, TaskSpec};
use crate::corpus::{Corpus, Extraction, Split};
use crate::error::{Error, Result, hint};

impl Protocol {
    /// Checks that the keys suit the corpus's kind of annotation.
    fn check_task(&self, task: Extraction) -> Result<()> {
        let re = task == Extraction::Relations;
        for (wrong, key, reason) in [
            (re && self.masking.is_some(), "masking", "is for entity tags; a relation row has one label"),
            (re && !self.priority.is_empty(), "priority", "is for entity types; a relation row has one owner"),
        ] {
            if wrong {
                return Err(Error::protocol(key, reason));
            }
        }
        Ok(())
    }

    /// Returns the tasks, checked against the classes that `corpus` defines and uses.
    ///
    /// # Errors
    /// A key does not suit the corpus; a class is unknown, in two tasks, or used by the corpus but neither in a task nor
    /// dropped; a task is empty; `priority` is not a list of all entity types. Messages name the key.
    pub fn tasks(&self, corpus: &Corpus) -> Result<Vec<TaskSpec>> {
        if corpus.spec.name != self.corpus.name() {
            let reason = format!("is `{}`, but the files read are `{}`", self.corpus.name(), corpus.spec.name);
            return Err(Error::protocol("corpus", reason));
        }
        self.check_task(corpus.spec.task)?;
        let known = |key: String, class: &String| {
            if corpus.classes.contains(class) {
                return Ok(());
            }
            let hint = hint(class, corpus.classes.iter().map(String::as_str));
            Err(Error::protocol(
                key,
                format!("unknown class `{class}`{hint}; the corpus has {}", corpus.classes.join(", ")),
            ))
        };
        for (i, class) in self.drop.iter().enumerate() {
            known(format!("drop[{i}]"), class)?;
        }
        let tasks = if self.listed.is_empty() { self.cut(corpus)? } else { self.listed.clone() };
        let mut task_of: BTreeMap<&str, usize> = BTreeMap::new();
        for (k, task) in tasks.iter().enumerate() {
            let key = self.task_key(k);
            if task.classes.is_empty() {
                return Err(Error::protocol(key, "is empty"));
            }
            for class in &task.classes {
                known(key.clone(), class)?;
                if self.drop.contains(class) {
                    return Err(Error::protocol(key, format!("`{class}` is also in `drop`")));
                }
                if let Some(first) = task_of.insert(class, k) {
                    return Err(Error::protocol(key, format!("class `{class}` is already in task {first}")));
                }
            }
        }
        let forgotten = |class: &str| !task_of.contains_key(class) && !self.is_dropped(class);
        if let Some((class, rows)) = rows_by_class(corpus).iter().find(|(class, _)| forgotten(class)) {
            let reason = format!("class `{class}` ({rows} rows) is in no task; add it to one, or to `drop`");
            return Err(Error::protocol(if self.listed.is_empty() { "classes" } else { "tasks" }, reason));
        }
        if corpus.spec.task == Extraction::Entities && !self.priority.is_empty() {
            self.check_priority(task_of.keys().copied())?;
        }
        Ok(tasks)
    }

    /// Returns whether `drop` names the class.
    pub fn is_dropped(&self, class: &str) -> bool {
        self.drop.iter().any(|dropped| dropped == class)
    }

    /// Returns the key of the file that says which classes a task has.
    pub fn task_key(&self, k: usize) -> String {
        match self.order {
            _ if self.listed.is_empty() => "classes".to_owned(),
            Some(order) => format!("orders[{}][{k}]", order - 1),
            None => format!("tasks[{k}].classes"),
        }
    }

    /// Returns the entity types, the one that owns a sentence first: as the protocol lists them or, by default, rarest
    /// first, so that rare types keep their sentences. Types with as many rows are sorted by name.
    pub fn priorities(&self, corpus: &Corpus) -> Vec<String> {
        if !self.priority.is_empty() {
            return self.priority.clone();
        }
        let kept = rows_by_class(corpus).into_iter().filter(|(class, _)| !self.is_dropped(class));
        let mut rows: Vec<(usize, &str)> = kept.map(|(class, rows)| (rows, class)).collect();
        rows.sort_unstable();
        rows.into_iter().map(|(_, class)| class.to_owned()).collect()
    }

    fn check_priority<'a>(&self, classes: impl Iterator<Item = &'a str>) -> Result<()> {
        let mut listed: Vec<&str> = self.priority.iter().map(String::as_str).collect();
        listed.sort_unstable();
        let classes: Vec<&str> = classes.collect();
        if listed == classes {
            return Ok(());
        }
        Err(Error::protocol("priority", format!("must list each class once: {}", classes.join(", "))))
    }

    /// Cuts the class order into `n_tasks` consecutive groups. Where it does not divide evenly, the first groups have one
    /// class more.
    fn cut(&self, corpus: &Corpus) -> Result<Vec<TaskSpec>> {
        let n = self.n_tasks.unwrap_or(1);
        let kept = || corpus.classes.iter().filter(|class| !self.is_dropped(class)).cloned().collect();
        let mut order: Vec<String> = self.classes.clone().unwrap_or_else(kept);
        if n > order.len() {
            return Err(Error::protocol(
                "n_tasks",
                format!("{n} tasks of {} classes: a task would be empty", order.len()),
            ));
        }
        if let Some(seed) = self.order_seed {
            order.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
        }
        let mut rest = order.into_iter();
        let each = rest.len() / n;
        let larger = rest.len() % n;
        let size = |k: usize| each + usize::from(k < larger);
        Ok((0..n).map(|k| TaskSpec { name: None, classes: rest.by_ref().take(size(k)).collect() }).collect())
    }
}

/// Counts the rows of each class over all splits.
fn rows_by_class(corpus: &Corpus) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for instance in Split::ALL.into_iter().flat_map(|split| corpus.split(split)) {
        for class in instance.annotation.classes() {
            *counts.entry(class).or_insert(0) += 1;
        }
    }
    counts
}
