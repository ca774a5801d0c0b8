//! Metrics: pure functions of stored predictions. Nothing here is computed during training.

pub mod continual;
pub mod relation;
pub mod score;
pub mod span;

use serde::{Deserialize, Serialize};

/// True positives, predicted and gold counts, and what follows from them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Correct predictions.
    pub correct: usize,
    /// All predictions.
    pub predicted: usize,
    /// All gold items (support).
    pub gold: usize,
}

impl Counts {
    /// Harmonic mean of precision and recall, `2 TP / (predicted + gold)`; 0 where both counts are 0
    /// (scikit-learn's `zero_division=0`).
    pub fn f1(self) -> f64 {
        ratio(2 * self.correct, self.predicted + self.gold)
    }

    /// Share of predictions that are correct.
    pub fn precision(self) -> f64 {
        ratio(self.correct, self.predicted)
    }

    /// Share of gold items found.
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

fn ratio(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = values.len();
    if count == 0 { 0.0 } else { values.sum::<f64>() / count as f64 }
}
