//! Confusion between old and new classes: counts what test items of classes learned before a task (old) and in it (new)
//! are predicted as.

use std::collections::{BTreeMap, BTreeSet};

use mkgc_builder::corpus::Extraction;
use mkgc_builder::labels::LabelSet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::labels::{label, tags};
use super::span::{Span, all_spans};
use crate::run::predictions::PredictionRow;
use crate::run::record::DatasetRecord;

/// Counts of test items. RE: rows. NER: gold spans, with the predicted span of the same words.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ConfusionCounts {
    /// Gold old: right, another old class, a new class, none.
    pub old: [usize; 4],
    /// Gold new: right, an old class, another new class, none.
    pub new: [usize; 4],
    /// Gold none: predicted none, an old class, a new class. NER: predicted spans whose words are no gold span; there is
    /// nothing to count in the first place.
    pub none: [usize; 3],
}

/// Counts the test rows after learning tasks `0..=stage`.
pub fn count(dataset: &DatasetRecord, stage: usize, rows: &[PredictionRow]) -> ConfusionCounts {
    let mut counts = ConfusionCounts::default();
    let labels = dataset.label_set();
    match dataset.task {
        Extraction::Relations => rows.iter().for_each(|row| {
            counts.add(&labels, stage, name(dataset, label(&row.gold)), name(dataset, label(&row.predicted)));
        }),
        Extraction::Entities => {
            let gold = tags(dataset, rows, |row| &row.gold);
            let predicted = tags(dataset, rows, |row| &row.predicted);
            for (gold, predicted) in by_words(&all_spans(&gold), &all_spans(&predicted)).into_values() {
                counts.add(&labels, stage, gold, predicted);
            }
        }
    }
    counts
}

/// Returns the gold and the predicted type of each span of words that either side names, empty if one does not.
fn by_words<'a>(
    gold: &BTreeSet<Span<'a>>,
    predicted: &BTreeSet<Span<'a>>,
) -> BTreeMap<(usize, usize, usize), (&'a str, &'a str)> {
    let mut found = BTreeMap::new();
    for (sentence, kind, start, end) in gold {
        found.insert((*sentence, *start, *end), (*kind, ""));
    }
    for (sentence, kind, start, end) in predicted {
        found.entry((*sentence, *start, *end)).or_insert(("", "")).1 = kind;
    }
    found
}

fn name(dataset: &DatasetRecord, label: u32) -> &str {
    dataset.labels.get(label as usize).map_or("", String::as_str)
}

impl ConfusionCounts {
    /// Counts one item. Classes that are not seen yet count as none.
    fn add(&mut self, labels: &LabelSet, stage: usize, gold: &str, predicted: &str) {
        let age = |class: &str| match labels.task_of_class(class) {
            Some(owner) if owner < stage => Age::Old,
            Some(owner) if owner == stage => Age::New,
            _ => Age::None,
        };
        match (age(gold), age(predicted)) {
            (Age::Old, to) => self.old[if gold == predicted { 0 } else { [1, 2, 3][to as usize] }] += 1,
            (Age::New, to) => self.new[if gold == predicted { 0 } else { [1, 2, 3][to as usize] }] += 1,
            (Age::None, to) => self.none[[1, 2, 0][to as usize]] += 1,
        }
    }
}

#[derive(Clone, Copy)]
enum Age {
    Old,
    New,
    None,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::example::{relations, row};

    #[test]
    fn every_kind_of_mistake_has_its_place() {
        // After task 1 of labels None, a (task 0), b, d (task 1), c (task 2).
        let mut dataset = relations();
        dataset.labels.push("d".to_owned());
        dataset.tasks[1].classes.push("d".to_owned());
        let pairs = [(1, 1), (1, 2), (1, 0), (2, 2), (2, 2), (2, 1), (2, 4), (2, 0), (0, 0), (0, 1), (0, 2), (0, 4)];
        let rows: Vec<PredictionRow> = pairs.iter().map(|(gold, predicted)| row(&[*gold], &[*predicted])).collect();
        let counts = count(&dataset, 1, &rows);
        assert_eq!(counts, ConfusionCounts { old: [1, 0, 1, 1], new: [2, 1, 1, 1], none: [1, 1, 2] });
        let first = count(&dataset, 0, &rows);
        assert_eq!(first.old, [0; 4], "nothing is old after the first task");
        assert_eq!(first.new, [1, 0, 0, 2]);
    }

    #[test]
    fn spans_are_compared_by_their_words() {
        let mut dataset = relations();
        dataset.task = Extraction::Entities;
        dataset.labels = ["O", "B-a", "I-a", "B-b", "I-b"].map(str::to_owned).to_vec();
        let rows = [
            row(&[1, 2, 0, 3], &[1, 2, 0, 1]), // a right; b became a
            row(&[1, 0, 1, 2], &[3, 0, 1, 0]), // a became b; the words of a are not met: lost, and one too many
            row(&[3, 4, 0, 0], &[3, 4, 0, 3]), // b right; a b too many
        ];
        let counts = count(&dataset, 1, &rows);
        assert_eq!(counts, ConfusionCounts { old: [1, 0, 1, 1], new: [1, 1, 0, 0], none: [0, 1, 1] });
    }
}
