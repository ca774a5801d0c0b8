//! A sentence to label, and where it stands.

use std::ops::Range;
use std::path::PathBuf;

use mkgc_builder::corpus::Mention;
use mkgc_builder::dataset::{Row, RowLabels};

use crate::error::{Error, Result};

/// Where a sentence stands in its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Path of the file, or a name for standard input.
    pub file: PathBuf,
    /// Number of the line, from 1.
    pub line: usize,
}

impl Place {
    /// Makes an error about this place.
    pub fn error(&self, reason: &str) -> Error {
        Error::Usage(format!("{}:{}: {reason}", self.file.display(), self.line))
    }
}

/// A sentence to label, with its picture and, for relations, its two mentions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sentence {
    /// Id that the input gives, else the number of its line.
    pub id: String,
    /// File and line that the sentence stands in, for messages.
    pub place: Place,
    /// Words of the sentence, at least one.
    pub tokens: Vec<String>,
    /// Half-open word spans of head and tail, whose relation is asked for; none where entities are.
    pub mentions: Option<[Range<usize>; 2]>,
    /// Path of its picture, as the input gives it.
    pub image: Option<PathBuf>,
}

impl Sentence {
    /// Checks that a sentence has words, and mentions within them.
    pub(super) fn checked(self) -> Result<Self> {
        let words = self.tokens.len();
        if words == 0 {
            return Err(self.place.error("the sentence has no words"));
        }
        let names = ["head", "tail"];
        let spans = self.mentions.iter().flatten().zip(names);
        let outside = spans.into_iter().find(|(span, _)| span.is_empty() || span.end > words);
        if let Some((span, name)) = outside {
            let Range { start, end } = span;
            let reason = format!(
                "`{name}` is the span [{start}, {end}] of a sentence of {words} words; give the first word, from 0, and \
                 one past the last"
            );
            return Err(self.place.error(&reason));
        }
        Ok(self)
    }

    /// Returns the sentence as a row of a benchmark whose labels are not known.
    pub(super) fn row(&self) -> Row {
        let mention = |span: &Range<usize>| Mention {
            name: self.tokens[span.clone()].join(" ").into(),
            start: span.start,
            end: span.end,
        };
        let labels = match &self.mentions {
            Some([head, tail]) => {
                RowLabels::Relation { head: mention(head), tail: mention(tail), relation: 0, original: 0 }
            }
            None => {
                let none = vec![0; self.tokens.len()];
                RowLabels::Entities { tags: none.clone(), original: none }
            }
        };
        let tokens = self.tokens.clone();
        Row { id: self.id.clone(), tokens, owner_task: None, image_id: None, crops: Vec::new(), labels }
    }
}
