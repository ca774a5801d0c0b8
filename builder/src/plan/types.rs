//! The result of planning: which corpus rows make up each task, with which labels.

use crate::corpus::Split;

/// Labels of one planned row, as ids into [`Plan::labels`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlannedLabels {
    /// Relation id under the protocol, and the original one.
    Relation {
        /// Id the protocol shows to a learner.
        relation: usize,
        /// Id the corpus gives.
        original: usize,
    },
    /// Tag ids under the protocol (masked), and the original ones; one per word.
    Entities {
        /// Ids the protocol shows to a learner.
        tags: Vec<usize>,
        /// Ids the corpus gives.
        original: Vec<usize>,
    },
}

/// One row of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedRow {
    /// Index into the corpus split's instances.
    pub index: usize,
    /// The task that owns the row: that of its relation, of its None chunk, or of its highest-priority entity type.
    /// `None` for a row that no task owns (a NER test sentence without entities).
    pub owner_task: Option<usize>,
    /// Its labels.
    pub labels: PlannedLabels,
}

/// One task of the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskPlan {
    /// Name shown to people, e.g. `peer+religion`.
    pub name: String,
    /// The class names introduced here (relations or entity types), without `None`/`O`.
    pub classes: Vec<String>,
    /// Training rows in published order.
    pub train: Vec<PlannedRow>,
    /// Validation rows in published order.
    pub validation: Vec<PlannedRow>,
    /// Test rows (cumulative or of this task only, as the protocol says).
    pub test: Vec<PlannedRow>,
}

impl TaskPlan {
    /// The rows of one split.
    pub fn split(&self, split: Split) -> &[PlannedRow] {
        match split {
            Split::Train => &self.train,
            Split::Validation => &self.validation,
            Split::Test => &self.test,
        }
    }
}

/// A whole class-incremental stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Label names by id: RE `["None", relations in task order…]`;
    /// NER `["O", "B-T0", "I-T0", …]` in task order.
    pub labels: Vec<String>,
    /// The tasks in order.
    pub tasks: Vec<TaskPlan>,
}
