//! Relation classification: strict accuracy with `None`, and the counts of each relation, which give F1 without `None`
//! (scikit-learn's `f1_score(labels=relations, zero_division=0)`).

use super::counts::{Counts, ratio};

/// The scores of a set of relation rows.
#[derive(Debug, Clone, PartialEq)]
pub struct RelationScores {
    /// Share of rows whose label is right, `None` included.
    pub accuracy: f64,
    /// Counts summed over the relations given, from which micro-F1 follows.
    pub micro: Counts,
    /// Counts per relation, in the order given.
    pub per_class: Vec<Counts>,
}

/// Compares label ids, row by row. Only the ids in `relations` count: the relations seen, without `None`.
pub fn score(gold: &[u32], predicted: &[u32], relations: &[u32]) -> RelationScores {
    let pairs = || gold.iter().zip(predicted);
    let count = |relation: &u32| Counts {
        correct: pairs().filter(|(gold, predicted)| *gold == relation && *predicted == relation).count(),
        predicted: predicted.iter().filter(|label| *label == relation).count(),
        gold: gold.iter().filter(|label| *label == relation).count(),
    };
    let per_class: Vec<Counts> = relations.iter().map(count).collect();
    RelationScores {
        accuracy: ratio(pairs().filter(|(gold, predicted)| gold == predicted).count(), gold.len()),
        micro: per_class.iter().copied().sum(),
        per_class,
    }
}
