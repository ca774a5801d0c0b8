//! What is wrong in a corpus, counted so that it is known rather than hidden. Nothing here changes a row.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::corpus::{Annotation, Corpus, Instance, Split};
use crate::protocol::classes_of;

/// Defects per split, in train, validation, test order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Defects {
    /// Rows.
    pub rows: [usize; 3],
    /// Rows whose head and tail spans overlap (RE).
    pub overlapping_spans: [usize; 3],
    /// Distinct (text, head span, tail span) that occur with more than one relation (RE).
    pub conflicting_relations: [usize; 3],
    /// Rows whose text and annotated spans also occur in the training file (0 for training itself).
    pub pairs_shared_with_train: [usize; 3],
    /// Rows whose normalised text (lower case, no @mentions, ASCII letters and digits only) also occurs in training.
    pub texts_shared_with_train: [usize; 3],
    /// Rows without any class: `None` rows, sentences without entities.
    pub rows_without_class: [usize; 3],
    /// Classes with exactly one row in a split.
    pub one_row_classes: [Vec<String>; 3],
}

/// Counts every kind of defect.
pub fn count(corpus: &Corpus) -> Defects {
    let per_split = |f: &dyn Fn(&[Instance]) -> usize| Split::ALL.map(|split| f(corpus.split(split)));
    let train_pairs: BTreeSet<_> = corpus.train.iter().map(pair).collect();
    let train_texts: BTreeSet<_> = corpus.train.iter().map(normalised).collect();
    let shared = |found: &dyn Fn(&Instance) -> bool| {
        Split::ALL.map(|split| match split {
            Split::Train => 0,
            _ => corpus.split(split).iter().filter(|row| found(row)).count(),
        })
    };
    Defects {
        rows: per_split(&<[_]>::len),
        overlapping_spans: per_split(&|rows| rows.iter().filter(|row| overlap(row)).count()),
        conflicting_relations: per_split(&conflicting),
        pairs_shared_with_train: shared(&|row| train_pairs.contains(&pair(row))),
        texts_shared_with_train: shared(&|row| train_texts.contains(&normalised(row))),
        rows_without_class: per_split(&|rows| rows.iter().filter(|row| classes_of(&row.annotation).is_empty()).count()),
        one_row_classes: Split::ALL.map(|split| one_row(corpus.split(split))),
    }
}

fn overlap(row: &Instance) -> bool {
    match &row.annotation {
        Annotation::Relation { head, tail, .. } => head.start.max(tail.start) < head.end.min(tail.end),
        Annotation::Entities { .. } => false,
    }
}

/// Text with head and tail span (RE), or text alone (NER).
fn pair(row: &Instance) -> (&[String], [usize; 4]) {
    let spans = match &row.annotation {
        Annotation::Relation { head, tail, .. } => [head.start, head.end, tail.start, tail.end],
        Annotation::Entities { .. } => [0; 4],
    };
    (&row.tokens, spans)
}

fn conflicting(rows: &[Instance]) -> usize {
    let mut relations: BTreeMap<_, BTreeSet<&str>> = BTreeMap::new();
    for row in rows {
        if let Annotation::Relation { relation, .. } = &row.annotation {
            relations.entry(pair(row)).or_default().insert(relation);
        }
    }
    relations.values().filter(|names| names.len() > 1).count()
}

fn normalised(row: &Instance) -> String {
    let words = row.tokens.iter().filter(|word| !word.starts_with('@'));
    words.flat_map(|word| word.chars()).filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

fn one_row(rows: &[Instance]) -> Vec<String> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for class in rows.iter().flat_map(|row| classes_of(&row.annotation)) {
        *counts.entry(class).or_insert(0) += 1;
    }
    counts.into_iter().filter(|(_, n)| *n == 1).map(|(class, _)| class.to_owned()).collect()
}
