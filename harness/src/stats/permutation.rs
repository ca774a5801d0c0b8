//! Paired permutation tests (Fisher's randomisation; for F1, Yeh 2000). If two methods were equally good, the predictions
//! of each instance could just as well have come from the other method.

use ndarray::Array2;
use rand::RngCore;
use rayon::prelude::*;

use super::sample::{Totals, f1};
use super::{CHUNK, SEED, Sample};
use crate::seed::generator;

/// Number of random permutations from which a p value is computed.
pub const PERMUTATIONS: usize = 10_000;

/// Largest difference that counts as none: sums of the same numbers in another order may differ by rounding.
const CLOSE: f64 = 1e-12;

/// The outcome of a two-sided test.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PairedTest {
    /// The difference in micro-F1, averaged over the pairs.
    pub difference: f64,
    /// `(1 + number of permutations at least as extreme) / (1 + permutations)`.
    pub p: f64,
}

/// Pairs of runs, one of each method, whose predictions are swapped together.
pub type Pairs = Vec<(usize, usize)>;

/// Runs one test for each list of pairs. The instances to swap are drawn once and shared by all tests.
pub fn tests(sample: &Sample, comparisons: &[Pairs]) -> Vec<PairedTest> {
    let ones = Array2::ones((1, sample.instances()));
    let whole = sample.totals(&ones);
    let gold = f64::from(sample.gold(&ones)[0]);
    let nothing = Totals::zeros(&whole);
    let observed: Vec<f64> = comparisons.iter().map(|pairs| difference(pairs, &whole, &nothing, 0, gold)).collect();
    let extreme = |start: &usize| -> Vec<usize> {
        let swapped = sample.totals(&swaps(sample.instances(), *start));
        let rows = CHUNK.min(PERMUTATIONS - start);
        let count = |(pairs, observed): (&Pairs, &f64)| {
            let as_extreme =
                |row: &usize| difference(pairs, &whole, &swapped, *row, gold).abs() >= observed.abs() - CLOSE;
            (0..rows).filter(as_extreme).count()
        };
        comparisons.iter().zip(&observed).map(count).collect()
    };
    let starts: Vec<usize> = (0..PERMUTATIONS).step_by(CHUNK).collect();
    let add = |a: Vec<usize>, b: Vec<usize>| a.iter().zip(&b).map(|(a, b)| a + b).collect();
    let extreme = starts.par_iter().map(extreme).reduce(|| vec![0; comparisons.len()], add);
    let p = |extreme: usize| (1 + extreme) as f64 / (1 + PERMUTATIONS) as f64;
    observed.into_iter().zip(extreme).map(|(difference, extreme)| PairedTest { difference, p: p(extreme) }).collect()
}

/// Draws which instances to swap, each with probability one half: 1 where swapped, `[permutations, instances]`.
fn swaps(instances: usize, start: usize) -> Array2<f32> {
    let mut random = generator(SEED, "permutation", start);
    let mut swaps = Array2::zeros((CHUNK.min(PERMUTATIONS - start), instances));
    for mut row in swaps.rows_mut() {
        for chunk in row.as_slice_mut().unwrap_or_default().chunks_mut(64) {
            let bits = random.next_u64();
            chunk.iter_mut().enumerate().for_each(|(bit, swap)| *swap = ((bits >> bit) & 1) as f32);
        }
    }
    swaps
}

/// Returns the mean difference if the instances counted in row `row` of `swapped` change sides.
fn difference(pairs: &Pairs, whole: &Totals, swapped: &Totals, row: usize, gold: f64) -> f64 {
    let pair = |(one, other): &(usize, usize)| {
        let one_out = swapped.counts(row, *one);
        let other_out = swapped.counts(row, *other);
        let side = |run: usize, out: [f64; 2], into: [f64; 2]| {
            let all = whole.counts(0, run);
            f1([0, 1].map(|i| all[i] - out[i] + into[i]), gold)
        };
        side(*one, one_out, other_out) - side(*other, other_out, one_out)
    };
    pairs.iter().map(pair).sum::<f64>() / pairs.len() as f64
}

/// Applies Holm's step-down correction and returns the p values in the order given.
pub fn holm(p: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|a, b| p[*a].total_cmp(&p[*b]));
    let mut corrected = vec![0.0; p.len()];
    let mut highest: f64 = 0.0;
    for (place, test) in order.into_iter().enumerate() {
        highest = highest.max((p[test] * (p.len() - place) as f64).min(1.0));
        corrected[test] = highest;
    }
    corrected
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Counts;

    /// Makes runs on eight instances that have one gold and one predicted item each; 1 marks those that are right.
    fn sample(runs: &[[usize; 8]]) -> Sample {
        let counts = |right: &[usize; 8]| right.map(|correct| Counts { correct, predicted: 1, gold: 1 }).to_vec();
        let runs: Vec<Vec<Counts>> = runs.iter().map(counts).collect();
        Sample::new(&runs.iter().map(Vec::as_slice).collect::<Vec<_>>())
    }

    #[test]
    fn p_values_are_those_of_all_permutations() {
        let sample = sample(&[[1, 1, 1, 1, 1, 1, 0, 1], [0, 0, 0, 0, 0, 0, 0, 1], [1, 1, 1, 1, 1, 0, 1, 1]]);
        let found = tests(&sample, &[vec![(0, 1)], vec![(1, 0)], vec![(0, 2)], vec![(0, 0)]]);
        // Six instances differ: only all six on one side are as extreme, 2 of 2^6 assignments.
        let expected = 2.0 / 64.0;
        let deviation = 4.0 * (expected * (1.0 - expected) / PERMUTATIONS as f64).sqrt();
        assert!((found[0].p - expected).abs() < deviation, "{}", found[0].p);
        assert_eq!([found[0].difference, found[1].difference], [0.75, -0.75]);
        assert_eq!(found[0].p, found[1].p, "two-sided");
        assert_eq!(found[2], PairedTest { difference: 0.0, p: 1.0 });
        assert_eq!(found[3].p, 1.0);
    }

    #[test]
    fn seeds_are_swapped_together() {
        let sample = sample(&[[1, 1, 1, 1, 0, 0, 0, 0], [0; 8], [1, 1, 1, 1, 0, 0, 0, 0], [0; 8]]);
        let [one, both] = [vec![(0, 1)], vec![(0, 1), (2, 3)]].map(|pairs| tests(&sample, &[pairs])[0]);
        assert_eq!(one, both, "a second seed that says the same adds no evidence over instances");
    }

    #[test]
    fn holm_by_hand() {
        let corrected = holm(&[0.01, 0.04, 0.03, 0.5]);
        for (ours, by_hand) in corrected.iter().zip([0.04, 0.09, 0.09, 0.5]) {
            assert!((ours - by_hand).abs() < 1e-12, "{corrected:?}");
        }
        assert_eq!(holm(&[0.9, 0.8]), [1.0, 1.0]);
    }
}
