//! A row of a benchmark as a learner reads it.

use crate::corpus::Mention;

/// Labels of a row, as ids into [`super::Manifest::labels`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RowLabels {
    /// The relation of a sentence.
    Relation {
        /// First argument of the relation.
        head: Mention,
        /// Second argument of the relation.
        tail: Mention,
        /// Id that a learner sees.
        relation: usize,
        /// Id of the corpus's own label.
        original: usize,
    },
    /// The tags of a sentence.
    Entities {
        /// Ids that a learner sees, one per word.
        tags: Vec<usize>,
        /// Ids of the corpus's own tags, one per word.
        original: Vec<usize>,
    },
}

/// A row of a task file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Split and number in the full corpus file, e.g. `train-000123`. A row has the same id in every task.
    pub id: String,
    /// Words of the sentence, as the corpus splits them.
    pub tokens: Vec<String>,
    /// Task that owns the row; `None` for rows without a class that belong to all tasks.
    pub owner_task: Option<usize>,
    /// File name of the picture; `None` in a text-only benchmark.
    pub image_id: Option<String>,
    /// File names of the grounding crops.
    pub crops: Vec<String>,
    /// What the learner is to predict, and the corpus's own labels.
    pub labels: RowLabels,
}
