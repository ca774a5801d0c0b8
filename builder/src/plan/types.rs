//! The result of planning: which corpus rows make up each task, and with which labels.

use crate::corpus::Split;
use crate::labels::LabelSet;

/// Labels of one planned row, as ids into [`BenchmarkPlan::labels`].
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedRow {
    /// Index of the row in its split of the corpus.
    pub index: usize,
    /// The task that owns the row: that of its relation, of its chunk of rows without a class, or of its
    /// highest-priority entity type. `None` if no task owns it, as for a test sentence without entities.
    pub owner_task: Option<usize>,
    /// What a learner sees, and the corpus's own labels.
    pub labels: PlannedLabels,
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
}
