//! Counts the defects of a corpus, so that they are known rather than hidden. Nothing here changes a row.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::corpus::{Annotation, Corpus, Instance, Split};

/// Defects of each split, in the order of [`Split::ALL`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Defects {
    /// Number of rows in the split.
    pub rows: [usize; 3],
    /// Relation rows whose head and tail overlap.
    pub overlapping_spans: [usize; 3],
    /// Distinct triples of text, head span and tail span that occur with more than one relation.
    pub conflicting_relations: [usize; 3],
    /// Rows whose text and annotated spans also occur in the training file; 0 for the training file itself.
    pub pairs_shared_with_train: [usize; 3],
    /// Rows whose normalised text (lower case, no @mentions, only ASCII letters and digits) also occurs in the training
    /// file; 0 for the training file itself.
    pub texts_shared_with_train: [usize; 3],
    /// Rows without any class: without a relation or without an entity.
    pub rows_without_class: [usize; 3],
    /// Classes with exactly one row in the split.
    pub one_row_classes: [Vec<String>; 3],
}

/// Counts every kind of defect of a corpus.
pub fn count_defects(corpus: &Corpus) -> Defects {
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
        rows_without_class: per_split(&|rows| rows.iter().filter(|row| row.annotation.classes().is_empty()).count()),
        one_row_classes: Split::ALL.map(|split| one_row(corpus.split(split))),
    }
}

fn overlap(row: &Instance) -> bool {
    match &row.annotation {
        Annotation::Relation { head, tail, .. } => head.start.max(tail.start) < head.end.min(tail.end),
        Annotation::Entities { .. } => false,
    }
}

/// Returns the text with head and tail span; of a sentence with tags, the text alone.
fn pair(row: &Instance) -> (&[String], [usize; 4]) {
    let spans = match &row.annotation {
        Annotation::Relation { head, tail, .. } => [head.start, head.end, tail.start, tail.end],
        Annotation::Entities { .. } => [0; 4],
    };
    (&row.tokens, spans)
}

fn conflicting(rows: &[Instance]) -> usize {
    let mut relations: BTreeMap<_, BTreeSet<Option<&str>>> = BTreeMap::new();
    for row in rows {
        if let Annotation::Relation { relation, .. } = &row.annotation {
            relations.entry(pair(row)).or_default().insert(relation.as_deref());
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
    for class in rows.iter().flat_map(|row| row.annotation.classes()) {
        *counts.entry(class).or_insert(0) += 1;
    }
    counts.into_iter().filter(|(_, n)| *n == 1).map(|(class, _)| class.to_owned()).collect()
}
