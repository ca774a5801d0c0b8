//! Counts the defects of a corpus, so that they are known rather than hidden. Nothing here changes a row.
//!
//! Rows are compared by 128-bit hashes (XXH3) of what they hold, so a row takes 64 bytes at most; among a million rows
//! the probability that two different ones have the same hash is below 2⁻⁸⁸.

use std::collections::BTreeMap;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use twox_hash::XxHash3_128;

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
    /// Rows whose text and annotated spans also occur in the training files; 0 for the training files themselves.
    pub pairs_shared_with_train: [usize; 3],
    /// Rows whose normalised text (lower case, no @mentions, only letters and digits) also occurs in the training
    /// files; 0 for the training files themselves.
    pub texts_shared_with_train: [usize; 3],
    /// Test rows whose text and annotated spans also occur in the validation files; 0 for the other splits.
    #[serde(default)]
    pub pairs_shared_with_validation: [usize; 3],
    /// Test rows whose normalised text also occurs in the validation files; 0 for the other splits.
    #[serde(default)]
    pub texts_shared_with_validation: [usize; 3],
    /// Rows without any class: without a relation or without an entity.
    pub rows_without_class: [usize; 3],
    /// Classes with exactly one row in the split.
    pub one_row_classes: [Vec<String>; 3],
}

/// Counts every kind of defect of a corpus.
pub fn count_defects(corpus: &Corpus) -> Defects {
    let per_split = |f: &dyn Fn(&[Instance]) -> usize| Split::ALL.map(|split| f(corpus.split(split)));
    let pairs = SharedRows::count(corpus, pair);
    let texts = SharedRows::count(corpus, normalised);
    Defects {
        rows: per_split(&<[_]>::len),
        overlapping_spans: per_split(&|rows| rows.iter().filter(|row| overlap(row)).count()),
        conflicting_relations: per_split(&conflicting),
        pairs_shared_with_train: pairs.with_train,
        texts_shared_with_train: texts.with_train,
        pairs_shared_with_validation: pairs.with_validation,
        texts_shared_with_validation: texts.with_validation,
        rows_without_class: per_split(&|rows| rows.iter().filter(|row| row.annotation.classes().is_empty()).count()),
        one_row_classes: Split::ALL.map(|split| one_row(corpus.split(split))),
    }
}

/// Returns whether two splits hold the same rows in any order: texts, annotations and names of pictures. Empty splits do
/// not.
pub fn same_rows(one: &[Instance], other: &[Instance]) -> bool {
    one.len() == other.len() && !one.is_empty() && sorted(hashes(one, whole)) == sorted(hashes(other, whole))
}

/// Counts of the rows that an earlier split has as well, in the order of [`Split::ALL`].
struct SharedRows {
    with_train: [usize; 3],
    with_validation: [usize; 3],
}

impl SharedRows {
    fn count(corpus: &Corpus, content: fn(&Instance, &mut Vec<u8>)) -> Self {
        let train = sorted(hashes(&corpus.train, content));
        let validation = sorted(hashes(&corpus.validation, content));
        let test = hashes(&corpus.test, content);
        Self {
            with_train: [0, shared(&train, &validation), shared(&train, &test)],
            with_validation: [0, 0, shared(&validation, &test)],
        }
    }
}

/// Hashes what `content` writes of each row.
fn hashes(rows: &[Instance], content: fn(&Instance, &mut Vec<u8>)) -> Vec<u128> {
    rows.par_iter().map_init(Vec::new, |buffer, row| hash(row, content, buffer)).collect()
}

fn hash(row: &Instance, content: impl Fn(&Instance, &mut Vec<u8>), buffer: &mut Vec<u8>) -> u128 {
    buffer.clear();
    content(row, buffer);
    XxHash3_128::oneshot(buffer)
}

fn sorted(mut hashes: Vec<u128>) -> Vec<u128> {
    hashes.par_sort_unstable();
    hashes
}

/// Counts the hashes that are among the sorted ones.
fn shared(sorted: &[u128], hashes: &[u128]) -> usize {
    hashes.par_iter().filter(|hash| sorted.binary_search(hash).is_ok()).count()
}

fn overlap(row: &Instance) -> bool {
    match &row.annotation {
        Annotation::Relation(relation) => {
            relation.head.start.max(relation.tail.start) < relation.head.end.min(relation.tail.end)
        }
        Annotation::Entities(_) => false,
    }
}

/// Writes a text so that no two lists of texts give the same bytes: 0xFF occurs in no UTF-8 text.
fn write_text(text: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(text.as_bytes());
    out.push(0xff);
}

/// Writes the text with head and tail span; of a sentence with tags, the text alone.
fn pair(row: &Instance, out: &mut Vec<u8>) {
    row.tokens.iter().for_each(|token| write_text(token, out));
    if let Annotation::Relation(of) = &row.annotation {
        let spans = [of.head.start, of.head.end, of.tail.start, of.tail.end];
        spans.iter().for_each(|place| out.extend_from_slice(&(*place as u64).to_le_bytes()));
    }
}

/// Writes everything that makes a row another one, without its number.
fn whole(row: &Instance, out: &mut Vec<u8>) {
    pair(row, out);
    out.push(u8::from(row.image.is_some()));
    write_text(row.image.as_deref().unwrap_or_default(), out);
    match &row.annotation {
        Annotation::Relation(of) => write_text(of.relation.as_deref().unwrap_or_default(), out),
        Annotation::Entities(tags) => tags.iter().for_each(|tag| write_text(&tag.to_string(), out)),
    }
}

/// Writes the letters and digits of the text in lower case, without @mentions.
fn normalised(row: &Instance, out: &mut Vec<u8>) {
    let words = row.tokens.iter().filter(|word| !word.starts_with('@'));
    let letters = words.flat_map(str::chars).filter(|letter| letter.is_alphanumeric()).flat_map(char::to_lowercase);
    out.extend(letters.collect::<String>().bytes());
}

/// Counts the pairs that occur with several relations.
fn conflicting(rows: &[Instance]) -> usize {
    if rows.first().is_none_or(|row| row.annotation.relation().is_none()) {
        return 0;
    }
    let with_relation = |row: &Instance, out: &mut Vec<u8>| {
        if let Annotation::Relation(of) = &row.annotation {
            out.push(u8::from(of.relation.is_some()));
            write_text(of.relation.as_deref().unwrap_or_default(), out);
        }
    };
    let both = |buffer: &mut Vec<u8>, row| (hash(row, pair, buffer), hash(row, with_relation, buffer));
    let mut labelled: Vec<(u128, u128)> = rows.par_iter().map_init(Vec::new, both).collect();
    labelled.par_sort_unstable();
    labelled.dedup();
    labelled.chunk_by(|one, next| one.0 == next.0).filter(|relations| relations.len() > 1).count()
}

fn one_row(rows: &[Instance]) -> Vec<String> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for class in rows.iter().flat_map(|row| row.annotation.classes()) {
        *counts.entry(class).or_insert(0) += 1;
    }
    counts.into_iter().filter(|(_, n)| *n == 1).map(|(class, _)| class.to_owned()).collect()
}
