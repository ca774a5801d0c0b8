//! Runs on the same test instances as counts per instance. Micro-F1 is `2·Σcorrect / (Σpredicted + Σgold)`, so the scores
//! of all resamples of all runs follow from one matrix product, weights `[resamples, instances]` × counts
//! `[instances, 2·runs]`.

use ndarray::{Array1, Array2};

use crate::metrics::Counts;

/// Counts of runs on the same instances.
pub struct Sample {
    /// `[instances, 2·runs]`: correct and predicted items of each run, side by side. Sums are whole numbers below 2²⁴,
    /// which f32 holds exactly.
    counts: Array2<f32>,
    /// Gold items of each instance, the same for all runs.
    gold: Array1<f32>,
}

/// Sums over instances: `width` = 2·runs values per resample.
pub struct Totals {
    values: Vec<f32>,
    width: usize,
}

impl Sample {
    /// Of the counts of each run, instances in the same order.
    pub fn new(runs: &[&[Counts]]) -> Self {
        let instances = runs.first().map_or(0, |run| run.len());
        let of = |(instance, column): (usize, usize)| {
            let counts: Counts = runs[column / 2][instance];
            (if column % 2 == 0 { counts.correct } else { counts.predicted }) as f32
        };
        let gold = (0..instances).map(|instance| runs[0][instance].gold as f32).collect();
        Self { counts: Array2::from_shape_fn((instances, 2 * runs.len()), of), gold }
    }

    /// Their number.
    pub fn instances(&self) -> usize {
        self.gold.len()
    }

    /// Weighted sums of correct and predicted items.
    pub fn totals(&self, weights: &Array2<f32>) -> Totals {
        let sums = weights.dot(&self.counts);
        Totals { width: sums.ncols(), values: sums.into_iter().collect() }
    }

    /// Weighted sums of gold items.
    pub fn gold(&self, weights: &Array2<f32>) -> Array1<f32> {
        weights.dot(&self.gold)
    }
}

impl Totals {
    /// Nothing of as many runs.
    pub fn zeros(like: &Self) -> Self {
        Self { values: vec![0.0; like.values.len()], width: like.width }
    }

    /// Correct and predicted items of a run.
    pub fn of(&self, row: usize, run: usize) -> [f64; 2] {
        let at = row * self.width + 2 * run;
        [f64::from(self.values[at]), f64::from(self.values[at + 1])]
    }

    /// Micro-F1 of a run.
    pub fn f1(&self, row: usize, run: usize, gold: f32) -> f64 {
        f1(self.of(row, run), f64::from(gold))
    }
}

/// `2·correct / (predicted + gold)`, 0 where there is nothing.
pub fn f1([correct, predicted]: [f64; 2], gold: f64) -> f64 {
    if predicted + gold > 0.0 { 2.0 * correct / (predicted + gold) } else { 0.0 }
}
