//! True positives, predicted and gold items, and the scores that follow from them.

use serde::{Deserialize, Serialize};

use super::value::Value;

/// Counts of one class, or summed over several.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Number of predictions that equal the gold item.
    pub correct: usize,
    /// Number of items predicted, right or wrong.
    pub predicted: usize,
    /// Number of gold items (support).
    pub gold: usize,
}

impl Counts {
    /// Returns the harmonic mean of precision and recall, `2 TP / (predicted + gold)`, or 0 if both counts are 0
    /// (scikit-learn's `zero_division=0`).
    pub fn f1(self) -> f64 {
        ratio(2 * self.correct, self.predicted + self.gold)
    }

    /// Returns F1, or `undefined: reason` if there is no gold item.
    pub fn score(self, reason: impl FnOnce() -> String) -> Value {
        if self.gold == 0 { Value::undefined(&reason()) } else { Value::Number(self.f1()) }
    }

    /// Returns the share of predictions that are correct.
    pub fn precision(self) -> f64 {
        ratio(self.correct, self.predicted)
    }

    /// Returns the share of gold items that were found.
    pub fn recall(self) -> f64 {
        ratio(self.correct, self.gold)
    }
}

impl std::iter::Sum for Counts {
    fn sum<I: Iterator<Item = Self>>(counts: I) -> Self {
        counts.fold(Self::default(), |a, b| Self {
            correct: a.correct + b.correct,
            predicted: a.predicted + b.predicted,
            gold: a.gold + b.gold,
        })
    }
}

/// Returns `part / whole`, or 0 if `whole` is 0.
pub(super) fn ratio(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}
