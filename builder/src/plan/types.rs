//! The result of planning: which corpus rows make up each task, and what a learner sees of their labels.

use crate::bio::Tag;
use crate::corpus::{Annotation, Split};
use crate::labels::LabelSet;
use crate::protocol::Masking;

/// Labels of a row in one task, as ids into [`BenchmarkPlan::labels`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlannedLabels {
    /// The relation of a row.
    Relation {
        /// Id that a learner sees.
        relation: usize,
        /// Id of the corpus's own label.
        original: usize,
    },
    /// The tags of a sentence, one per word.
    Entities {
        /// Ids that a learner sees, with masked types as `O`.
        tags: Vec<usize>,
        /// Ids of the corpus's own tags.
        original: Vec<usize>,
    },
}

/// A row of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlannedRow {
    /// Index of the row in its split of the corpus.
    pub index: usize,
    /// The task that owns the row: that of its relation, of its chunk of rows without a class, or of its
    /// highest-priority entity type. `None` if no task owns it, as for a test sentence without entities.
    pub owner_task: Option<usize>,
}

/// A task of the sequence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskPlan {
    /// Name shown to people, e.g. `peer+religion`.
    pub name: String,
    /// Relations or entity types that the task introduces.
    pub classes: Vec<String>,
    /// Training rows in published order.
    pub train: Vec<PlannedRow>,
    /// Validation rows in published order.
    pub validation: Vec<PlannedRow>,
    /// Test rows: cumulative or of this task only, as the protocol says.
    pub test: Vec<PlannedRow>,
}

impl TaskPlan {
    /// Returns the rows of one split.
    pub fn split(&self, split: Split) -> &[PlannedRow] {
        match split {
            Split::Train => &self.train,
            Split::Validation => &self.validation,
            Split::Test => &self.test,
        }
    }
}

/// A sequence of tasks, which together are a class-incremental benchmark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BenchmarkPlan {
    /// The labels of all tasks.
    pub labels: LabelSet,
    /// The tasks in the order of learning.
    pub tasks: Vec<TaskPlan>,
    /// Which entity types keep their tags in training and validation rows.
    pub masking: Masking,
}

impl BenchmarkPlan {
    /// Returns the labels that a row has in a split of task `task`. The tags of types that the task does not show, and
    /// of types that the protocol drops, become `O`.
    pub fn row_labels(&self, task: usize, split: Split, annotation: &Annotation) -> PlannedLabels {
        match annotation {
            Annotation::Relation(of) => {
                let id = of.relation.as_ref().and_then(|relation| self.labels.id(relation)).unwrap_or(0);
                PlannedLabels::Relation { relation: id, original: id }
            }
            Annotation::Entities(tags) => {
                let original: Vec<usize> = tags.iter().map(|tag| self.tag_id(tag)).collect();
                let seen = |id: &usize| if self.shows(task, split, *id) { *id } else { 0 };
                PlannedLabels::Entities { tags: original.iter().map(seen).collect(), original }
            }
        }
    }

    fn tag_id(&self, tag: Tag<'_>) -> usize {
        if tag == Tag::Outside { 0 } else { self.labels.id(&tag.to_string()).unwrap_or(0) }
    }

    /// Returns whether a split of a task shows the tag of an id: tests those of the tasks so far, the other splits as
    /// the masking says.
    fn shows(&self, task: usize, split: Split, id: usize) -> bool {
        let Some(own) = self.labels.task(id) else { return false };
        match (split, self.masking) {
            (Split::Test, _) | (_, Masking::Seen) => own <= task,
            (_, Masking::Current) => own == task,
            (_, Masking::Off) => true,
        }
    }
}
