//! 95 % confidence intervals: Student's over seeds, bootstrapped over test instances.

use ndarray::Array2;
use rand::Rng;
use rayon::prelude::*;
use statrs::distribution::{ContinuousCDF, StudentsT};

use super::{CHUNK, SEED, Sample};
use crate::seed::generator;

/// Number of resamples of the bootstrap.
pub const RESAMPLES: usize = 1000;

/// Returns the interval of a mean over seeds, `mean ± t(0.975, n-1) s/√n` (Student), or `None` for fewer than two values.
pub fn student(values: &[f64]) -> Option<[f64; 2]> {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (n - 1.0);
    let t = StudentsT::new(0.0, 1.0, n - 1.0).ok()?.inverse_cdf(0.975);
    let half = t * (variance / n).sqrt();
    Some([mean - half, mean + half])
}

/// Returns the interval over test instances of the mean micro-F1 of each group of runs: the percentile bootstrap (Efron
/// 1979), which draws the same instances for all groups. At least one instance must have a gold item. Resamples without a
/// gold item have no score and are left out.
pub fn bootstrap(sample: &Sample, groups: &[Vec<usize>]) -> Vec<[f64; 2]> {
    let starts: Vec<usize> = (0..RESAMPLES).step_by(CHUNK).collect();
    let chunks: Vec<Vec<Vec<f64>>> = starts.par_iter().map(|start| resampled(sample, groups, *start)).collect();
    let interval = |group: usize| {
        let mut scores: Vec<f64> = chunks.iter().flat_map(|chunk| &chunk[group]).copied().collect();
        scores.sort_by(f64::total_cmp);
        [quantile(&scores, 0.025), quantile(&scores, 0.975)]
    };
    (0..groups.len()).map(interval).collect()
}

/// Returns the scores of each group in one chunk of resamples, which starts at `start`.
fn resampled(sample: &Sample, groups: &[Vec<usize>], start: usize) -> Vec<Vec<f64>> {
    let mut random = generator(SEED, "bootstrap", start);
    let instances = sample.instances();
    let mut weights = Array2::<f32>::zeros((CHUNK.min(RESAMPLES - start), instances));
    for mut row in weights.rows_mut() {
        for _ in 0..instances {
            row[random.random_range(0..instances)] += 1.0;
        }
    }
    let totals = sample.totals(&weights);
    let gold = sample.gold(&weights);
    let score = |row: usize, group: &[usize]| {
        group.iter().map(|run| totals.f1(row, *run, gold[row])).sum::<f64>() / group.len() as f64
    };
    let scored: Vec<usize> = (0..weights.nrows()).filter(|row| gold[*row] > 0.0).collect();
    groups.iter().map(|group| scored.iter().map(|row| score(*row, group)).collect()).collect()
}

/// Returns a quantile of ascending values, linear between neighbours (numpy's default).
fn quantile(ascending: &[f64], share: f64) -> f64 {
    let place = share * (ascending.len() - 1) as f64;
    let low = ascending[place.floor() as usize];
    let high = ascending[place.ceil() as usize];
    low + (high - low) * place.fract()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::metrics::Counts;

    #[test]
    fn student_over_three_seeds_by_hand() {
        // t(0.975, 2) = 4.302653; s = 0.1, so the half width is 4.302653 · 0.1 / √3.
        let [low, high] = student(&[0.4, 0.5, 0.6]).unwrap();
        assert!((low - (0.5 - 0.248_413_8)).abs() < 1e-6 && (high - (0.5 + 0.248_413_8)).abs() < 1e-6, "{low} {high}");
        assert!(student(&[0.5]).is_none());
        assert_eq!(student(&[0.5, 0.5]), Some([0.5, 0.5]));
    }

    #[test]
    fn a_perfect_predictor_has_no_interval_below_1() {
        // One gold item among three rows: 8 of 27 resamples do not hold it.
        let row = |item: usize| Counts { correct: item, predicted: item, gold: item };
        let counts = [0, 1, 0].map(row);
        assert_eq!(bootstrap(&Sample::new(&[&counts]), &[vec![0]]), [[1.0, 1.0]]);
    }

    #[test]
    fn quantiles_are_those_of_numpy() {
        let values = [1.0, 2.0, 4.0, 8.0];
        assert_eq!([0.0, 0.5, 1.0].map(|share| quantile(&values, share)), [1.0, 3.0, 8.0]);
        assert!((quantile(&values, 0.9) - 6.8).abs() < 1e-12);
    }
}
