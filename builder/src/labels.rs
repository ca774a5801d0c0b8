//! The labels of a benchmark: what each id means, which task introduces it, and which labels are known after a task.
//!
//! Id 0 stands for "no class" (`None` for relations, `O` for tags). The classes follow in task order: a relation has
//! one label, an entity type T has two, `B-T` and `I-T`.

use std::collections::BTreeMap;

use crate::bio::{self, Tag};
use crate::corpus::Extraction;

/// Labels by id, with their classes and tasks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelSet {
    kind: Extraction,
    names: Vec<String>,
    ids: BTreeMap<String, usize>,
    /// Relations or entity types in task order.
    classes: Vec<String>,
    /// The index of each class in `classes` and the task that introduces it.
    places: BTreeMap<String, ClassPlace>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct ClassPlace {
    index: usize,
    task: usize,
}

impl LabelSet {
    /// Numbers the labels of a sequence of tasks, each given as the list of its classes. `none` names id 0 of a
    /// relation benchmark; that of an entity benchmark is always `O`.
    pub fn number<'a>(kind: Extraction, none: &str, tasks: impl IntoIterator<Item = &'a [String]> + Clone) -> Self {
        let classes = tasks.clone().into_iter().flatten();
        let names: Vec<String> = match kind {
            Extraction::Relations => std::iter::once(none.to_owned()).chain(classes.cloned()).collect(),
            Extraction::Entities => {
                std::iter::once(bio::OUTSIDE.to_owned()).chain(classes.flat_map(|class| bio::tags_of(class))).collect()
            }
        };
        Self::new(kind, &names, tasks)
    }

    /// Interprets label names that are already numbered, such as those of a manifest. A name that belongs to no task
    /// has neither class nor task.
    pub fn new<'a>(kind: Extraction, names: &[String], tasks: impl IntoIterator<Item = &'a [String]>) -> Self {
        let mut classes = Vec::new();
        let mut places = BTreeMap::new();
        for (task, own) in tasks.into_iter().enumerate() {
            for class in own {
                places.entry(class.clone()).or_insert(ClassPlace { index: classes.len(), task });
                classes.push(class.clone());
            }
        }
        let ids = names.iter().enumerate().map(|(id, name)| (name.clone(), id)).collect();
        Self { kind, names: names.to_vec(), ids, classes, places }
    }

    /// Returns whether the labels are relations or tags.
    pub fn kind(&self) -> Extraction {
        self.kind
    }

    /// Returns the label names by id.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Returns the classes (relations or entity types) in task order.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// Returns the name of id 0, which marks a row or word without a class.
    pub fn none(&self) -> &str {
        self.names.first().map_or("", String::as_str)
    }

    /// Returns the id of a label name.
    pub fn id(&self, name: &str) -> Option<usize> {
        self.ids.get(name).copied()
    }

    /// Returns the class of a label; `None` for id 0 and for ids that are out of range.
    pub fn class(&self, id: usize) -> Option<&str> {
        self.place(id).map(|place| self.classes[place.index].as_str())
    }

    /// Returns the index of a label's class in [`LabelSet::classes`].
    pub fn class_index(&self, id: usize) -> Option<usize> {
        self.place(id).map(|place| place.index)
    }

    /// Returns the task that introduces a label; `None` for id 0.
    pub fn task(&self, id: usize) -> Option<usize> {
        self.place(id).map(|place| place.task)
    }

    /// Returns the task that introduces a class.
    pub fn task_of_class(&self, class: &str) -> Option<usize> {
        self.places.get(class).map(|place| place.task)
    }

    /// Says for each label whether a learner knows it after task `task`: id 0 and the labels of tasks `0..=task`.
    pub fn known_after(&self, task: usize) -> Vec<bool> {
        self.with_tasks(|own| own <= task)
    }

    /// Says for each label whether task `task` trains it: id 0 and the labels that the task introduces.
    pub fn trained_in(&self, task: usize) -> Vec<bool> {
        self.with_tasks(|own| own == task)
    }

    fn with_tasks(&self, wanted: impl Fn(usize) -> bool) -> Vec<bool> {
        (0..self.names.len()).map(|id| id == 0 || self.task(id).is_some_and(&wanted)).collect()
    }

    fn place(&self, id: usize) -> Option<ClassPlace> {
        let name = self.names.get(id)?;
        let class = match self.kind {
            Extraction::Relations => name,
            Extraction::Entities => Tag::parse(name)?.class()?,
        };
        self.places.get(class).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tasks(classes: &[&[&str]]) -> Vec<Vec<String>> {
        classes.iter().map(|task| task.iter().map(|class| (*class).to_owned()).collect()).collect()
    }

    #[test]
    fn relations_are_numbered_in_task_order_behind_none() {
        let tasks = tasks(&[&["b"], &["a", "B-c"]]);
        let labels = LabelSet::number(Extraction::Relations, "None", tasks.iter().map(Vec::as_slice));
        assert_eq!(labels.names(), ["None", "b", "a", "B-c"]);
        assert_eq!(
            (0..5).map(|id| labels.class(id)).collect::<Vec<_>>(),
            [None, Some("b"), Some("a"), Some("B-c"), None]
        );
        assert_eq!((0..4).map(|id| labels.task(id)).collect::<Vec<_>>(), [None, Some(0), Some(1), Some(1)]);
        assert_eq!(labels.known_after(0), [true, true, false, false]);
        assert_eq!(labels.trained_in(1), [true, false, true, true]);
    }

    #[test]
    fn an_entity_type_has_two_tags() {
        let tasks = tasks(&[&["PER"], &["LOC"]]);
        let labels = LabelSet::number(Extraction::Entities, "ignored", tasks.iter().map(Vec::as_slice));
        assert_eq!(labels.names(), ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]);
        assert_eq!(
            (0..5).map(|id| labels.class_index(id)).collect::<Vec<_>>(),
            [None, Some(0), Some(0), Some(1), Some(1)]
        );
        assert_eq!(labels.id("I-LOC"), Some(4));
        assert_eq!(labels.id("LOC"), None);
        assert_eq!(labels.task_of_class("LOC"), Some(1));
        assert_eq!(labels.none(), "O");
    }
}
