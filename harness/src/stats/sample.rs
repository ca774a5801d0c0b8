//! Counts per instance of runs on the same test. Micro-F1 is `2·Σcorrect / (Σpredicted + Σgold)`, so one matrix product
//! gives the scores of all resamples of all runs: weights `[resamples, instances]` × counts `[instances, 2·runs]`.

use ndarray::{Array1, Array2};

use crate::metrics::Counts;

/// The counts of several runs on the same instances.
pub struct Sample {
    /// Correct and predicted items of each run, side by side: `[instances, 2·runs]`. Their sums are whole numbers below
    /// 2²⁴, which f32 holds exactly.
    counts: Array2<f32>,
    /// Gold items of each instance, which are the same for all runs.
    gold: Array1<f32>,
}

/// Weighted sums over the instances, `width` = 2·runs values per resample.
pub struct Totals {
    values: Vec<f32>,
    width: usize,
}

impl Sample {
    /// Makes a sample of the counts of each run, which must list the instances in the same order.
    pub fn new(runs: &[&[Counts]]) -> Self {
        let instances = runs.first().map_or(0, |run| run.len());
        let count = |(instance, column): (usize, usize)| {
            let counts: Counts = runs[column / 2][instance];
            (if column % 2 == 0 { counts.correct } else { counts.predicted }) as f32
        };
        let gold = (0..instances).map(|instance| runs[0][instance].gold as f32).collect();
        Self { counts: Array2::from_shape_fn((instances, 2 * runs.len()), count), gold }
    }

    /// Returns the number of instances.
    pub fn instances(&self) -> usize {
        self.gold.len()
    }

    /// Sums the correct and the predicted items with weights `[resamples, instances]`.
    pub fn totals(&self, weights: &Array2<f32>) -> Totals {
        let sums = weights.dot(&self.counts);
        Totals { width: sums.ncols(), values: sums.into_iter().collect() }
    }

    /// Sums the gold items with weights `[resamples, instances]`; one sum per resample.
    pub fn gold(&self, weights: &Array2<f32>) -> Array1<f32> {
        weights.dot(&self.gold)
    }
}

impl Totals {
    /// Returns all-zero totals with the same shape as `like`.
    pub fn zeros(like: &Self) -> Self {
        Self { values: vec![0.0; like.values.len()], width: like.width }
    }

    /// Returns the correct and the predicted items of a run in one resample.
    pub fn counts(&self, row: usize, run: usize) -> [f64; 2] {
        let at = row * self.width + 2 * run;
        [f64::from(self.values[at]), f64::from(self.values[at + 1])]
    }

    /// Returns the micro-F1 of a run in one resample.
    pub fn f1(&self, row: usize, run: usize, gold: f32) -> f64 {
        f1(self.counts(row, run), f64::from(gold))
    }
}

/// Returns `2·correct / (predicted + gold)`, or 0 if all counts are 0.
pub fn f1([correct, predicted]: [f64; 2], gold: f64) -> f64 {
    if predicted + gold > 0.0 { 2.0 * correct / (predicted + gold) } else { 0.0 }
}
