//! The rows of a corpus, typed and validated: what every later module works on.

use std::fmt;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::words::Words;
use crate::bio::Tags;

/// Relation extraction or named-entity recognition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "TaskKind")]
pub enum Extraction {
    /// One relation per sentence and entity pair.
    #[serde(rename = "re")]
    Relations,
    /// BIO tags over the words.
    #[serde(rename = "ner")]
    Entities,
}

/// A part of a corpus.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// The rows that methods train on.
    Train,
    /// The rows by which settings are chosen.
    Validation,
    /// The rows on which results are measured.
    Test,
}

impl Split {
    /// All three; every array over splits has this order.
    pub const ALL: [Self; 3] = [Self::Train, Self::Validation, Self::Test];

    /// Returns the name used in file names, dataset configs and row ids.
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Validation => "validation",
            Self::Test => "test",
        }
    }

    /// Returns the name that corpora use for folders: as [`Split::name`], but `val`.
    pub fn short_name(self) -> &'static str {
        if self == Self::Validation { "val" } else { self.name() }
    }
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An entity mention: its text and its half-open span of words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mention {
    /// Text of the mention as the corpus gives it.
    pub name: Box<str>,
    /// Index of the first word, 0-based.
    pub start: usize,
    /// Index one past the last word.
    pub end: usize,
}

/// The relation between two mentions of a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relation {
    /// First argument of the relation.
    pub head: Mention,
    /// Second argument of the relation.
    pub tail: Mention,
    /// Name of the relation as in the corpus, e.g. `/per/per/peer`; `None` if there is no relation. Rows of one file share
    /// it.
    pub relation: Option<Arc<str>>,
}

/// What the annotators marked in a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Annotation {
    /// The relation between two mentions.
    Relation(Box<Relation>),
    /// The entities of a sentence: one BIO tag per word.
    Entities(Tags),
}

impl Annotation {
    /// Returns the relation of a relation row.
    pub fn relation(&self) -> Option<&Relation> {
        match self {
            Self::Relation(relation) => Some(relation),
            Self::Entities(_) => None,
        }
    }

    /// Returns the tags of a sentence with entities.
    pub fn tags(&self) -> Option<&Tags> {
        match self {
            Self::Relation(_) => None,
            Self::Entities(tags) => Some(tags),
        }
    }

    /// Returns the classes of the row: its relation, or its entity types, sorted and each once.
    pub fn classes(&self) -> Vec<&str> {
        match self {
            Self::Relation(relation) => relation.relation.as_deref().into_iter().collect(),
            Self::Entities(tags) => {
                let mut types: Vec<&str> = tags.types().collect();
                types.sort_unstable();
                types
            }
        }
    }
}

/// One row of a corpus file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// Number of the record in its split, 0-based, counting damaged records too; crop dictionaries use it as a key.
    pub row: usize,
    /// Line where the record starts, 1-based, for messages.
    pub line: usize,
    /// The corpus's own name for the row, if its format has one; lists of row ids refer to it.
    pub id: Option<Box<str>>,
    /// Words of the sentence, as the corpus splits them.
    pub tokens: Words,
    /// File name of the picture; `None` in a corpus without pictures.
    pub image: Option<Box<str>>,
    /// The gold annotation of the row.
    pub annotation: Annotation,
}
