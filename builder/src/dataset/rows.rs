//! A row as a learner reads it: words, labels under the protocol, original labels, owner, image.

pub use crate::corpus::Mention;

/// Labels of a row, as ids into [`super::Manifest::labels`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RowLabels {
    /// Relation extraction.
    Relation {
        /// First argument.
        head: Mention,
        /// Second argument.
        tail: Mention,
        /// Relation id under the protocol.
        relation: usize,
        /// Relation id of the corpus.
        original: usize,
    },
    /// Named-entity recognition.
    Entities {
        /// One tag id per word under the protocol.
        tags: Vec<usize>,
        /// One tag id per word of the corpus.
        original: Vec<usize>,
    },
}

/// One row of a task file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Split and number in the full corpus file, e.g. `train-000123`; the same row has the same id in every task.
    pub id: String,
    /// The words.
    pub tokens: Vec<String>,
    /// Task that owns the row; none for rows without a class that belong to all.
    pub owner_task: Option<usize>,
    /// Image file name.
    pub image_id: String,
    /// Crop file names.
    pub crops: Vec<String>,
    /// Labels.
    pub labels: RowLabels,
}
