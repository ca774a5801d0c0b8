//! Rows as the stream hands them out: with the labels of training, or without any.

use std::collections::BTreeSet;

use mkgc_builder::corpus::Mention;
use mkgc_builder::dataset::{Row, RowLabels};
use mkgc_builder::labels::LabelSet;
use schemars::JsonSchema;
use serde::Serialize;

/// A row of a message. Rows of the test have no `task`, `relation` or `tags`.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct StreamRow {
    /// Id of the row: that of the benchmark for a training row, e.g. `train-000123`, and a hash for a row of the test.
    pub id: String,
    /// 0-based task that handed the row out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task: Option<usize>,
    /// Words of the sentence, which mentions and tags refer to.
    pub tokens: Vec<String>,
    /// First argument of the relation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub head: Option<StreamMention>,
    /// Second argument of the relation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tail: Option<StreamMention>,
    /// Name of the relation; relations of later tasks are "no class".
    #[serde(skip_serializing_if = "Option::is_none")]
    pub relation: Option<String>,
    /// Name of the BIO tag of each word; types of later tasks are `O`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<Vec<String>>,
    /// File name of the picture, `id` in the images files; null if the row has none.
    pub image_id: Option<String>,
    /// File names of the visual objects that belong to the row.
    pub crops: Vec<String>,
}

/// An entity mention: a half-open span of words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct StreamMention {
    /// Text of the mention as the corpus gives it.
    pub name: String,
    /// Index of the first word, from 0.
    pub start: usize,
    /// Index one past the last word.
    pub end: usize,
}

impl StreamMention {
    fn new(mention: &Mention) -> Self {
        Self { name: mention.name.to_string(), start: mention.start, end: mention.end }
    }
}

impl StreamRow {
    /// Makes the row of a test, without anything that tells its labels.
    pub fn test(row: &Row) -> Self {
        let (head, tail) = match &row.labels {
            RowLabels::Relation { head, tail, .. } => (Some(StreamMention::new(head)), Some(StreamMention::new(tail))),
            RowLabels::Entities { .. } => (None, None),
        };
        Self {
            id: row.id.clone(),
            task: None,
            tokens: row.tokens.clone(),
            head,
            tail,
            relation: None,
            tags: None,
            image_id: row.image_id.clone(),
            crops: row.crops.clone(),
        }
    }
}

/// A row with labels that a task hands out, and the classes that it holds.
#[derive(Debug, Clone, PartialEq)]
pub struct LabelledRow {
    /// 0-based task that hands the row out.
    pub task: usize,
    /// The row as it is sent.
    pub row: StreamRow,
    /// Names of its classes; `None` or `O` if it has none.
    pub classes: BTreeSet<String>,
}

impl LabelledRow {
    /// Makes a row of task `task` with the labels that are `allowed`; every other label becomes "no class".
    pub fn new(row: &Row, task: usize, labels: &LabelSet, allowed: &[bool]) -> Self {
        let known = |label: &usize| if allowed[*label] { *label } else { 0 };
        let name = |label: usize| labels.names()[label].clone();
        let mut shown = StreamRow { task: Some(task), ..StreamRow::test(row) };
        let own: Vec<usize> = match &row.labels {
            RowLabels::Relation { relation, .. } => vec![known(relation)],
            RowLabels::Entities { tags, .. } => tags.iter().map(known).collect(),
        };
        match &row.labels {
            RowLabels::Relation { .. } => shown.relation = own.first().map(|label| name(*label)),
            RowLabels::Entities { .. } => shown.tags = Some(own.iter().map(|label| name(*label)).collect()),
        }
        let mut classes: BTreeSet<String> =
            own.iter().filter_map(|label| labels.class(*label)).map(str::to_owned).collect();
        if classes.is_empty() {
            classes.insert(labels.none().to_owned());
        }
        Self { task, row: shown, classes }
    }
}
