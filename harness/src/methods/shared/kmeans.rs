//! k-means (Lloyd 1982 from k-means++ seeds, Arthur and Vassilvitskii 2007; the best of ten starts, as scikit-learn had
//! it for RP-CRE) for memory selection, and the rows nearest to its centroids.

use linfa::DatasetBase;
use linfa::traits::Fit;
use linfa_clustering::KMeans;
use linfa_nn::distance::Distance;
use ndarray::{Array2, ArrayView, Dimension};
use rand::Rng;
use rand_xoshiro::Xoshiro256Plus;
use rand_xoshiro::rand_core::SeedableRng;

/// Returns the indices of the rows nearest to the centroids of `min(k, rows)` clusters, each row once: a centroid
/// whose nearest row is taken gets the next nearest.
pub fn representatives(rows: &[Vec<f32>], k: usize, rng: &mut impl Rng) -> Vec<usize> {
    if rows.len() <= k {
        return (0..rows.len()).collect();
    }
    let points = Array2::from_shape_fn((rows.len(), rows[0].len()), |(row, column)| rows[row][column]);
    let params = KMeans::params_with(k, Xoshiro256Plus::seed_from_u64(rng.random()), Euclidean);
    // It fails on rows that are not finite: they have no clusters, and any rows will do.
    let Ok(clusters) = params.fit(&DatasetBase::from(points.view())) else { return (0..k).collect() };
    let mut chosen: Vec<usize> = Vec::with_capacity(k);
    for centroid in clusters.centroids().outer_iter() {
        let free = (0..rows.len()).filter(|row| !chosen.contains(row));
        let distance = |row: &usize| Euclidean.rdistance(points.row(*row), centroid);
        chosen.extend(free.min_by(|a, b| distance(a).total_cmp(&distance(b))));
    }
    chosen
}

/// The Euclidean distance of f32 values, in partial sums that a processor adds up side by side. linfa's `L2Dist` adds one
/// value after another, which takes k-means three times as long.
#[derive(Clone, Debug, PartialEq)]
struct Euclidean;

/// How many partial sums a distance has: enough to fill the vectors of any x86 processor.
const LANES: usize = 16;

impl Distance<f32> for Euclidean {
    fn distance<D: Dimension>(&self, a: ArrayView<'_, f32, D>, b: ArrayView<'_, f32, D>) -> f32 {
        self.rdistance(a, b).sqrt()
    }

    /// Returns the squared distance. Panics if the points have different dimensions, as the trait has it.
    fn rdistance<D: Dimension>(&self, a: ArrayView<'_, f32, D>, b: ArrayView<'_, f32, D>) -> f32 {
        assert_eq!(a.shape(), b.shape(), "points of different dimensions");
        let (a, b) = (a.as_standard_layout(), b.as_standard_layout());
        let (a, b) = (a.as_slice().unwrap_or_default(), b.as_slice().unwrap_or_default());
        let mut sums = [0.0; LANES];
        for (a, b) in a.chunks(LANES).zip(b.chunks(LANES)) {
            for ((a, b), sum) in a.iter().zip(b).zip(&mut sums) {
                *sum += (a - b) * (a - b);
            }
        }
        sums.iter().sum()
    }

    fn rdist_to_dist(&self, rdist: f32) -> f32 {
        rdist.sqrt()
    }

    fn dist_to_rdist(&self, dist: f32) -> f32 {
        dist * dist
    }
}

#[cfg(test)]
mod tests {
    use linfa_nn::distance::{Distance, L2Dist};
    use ndarray::Array2;

    use super::{Euclidean, representatives};
    use crate::seed;

    /// Points of any length, pairs of matrices as k-means compares centroids with, and memory in another order.
    #[test]
    fn distances_are_those_of_linfa() {
        let points = |rows: usize, columns: usize, start: usize| {
            let value = |(row, column)| ((start + row * columns + column) * 37 % 101) as f32 / 10.0;
            Array2::from_shape_fn((rows, columns), value)
        };
        for columns in [1, 15, 16, 17, 37, 384] {
            let (a, b) = (points(3, columns, 0), points(3, columns, 50));
            let (one, other) = (points(columns, 3, 7), points(columns, 3, 90));
            let pairs = [(a.view(), b.view()), (one.t(), other.t()), (a.view(), one.t())];
            for (a, b) in pairs {
                let near = |ours: f32, theirs: f32| (ours - theirs).abs() <= 1e-5 * theirs && theirs > 0.0;
                assert!(near(Euclidean.distance(a, b), L2Dist.distance(a, b)), "{columns}");
                assert!(near(Euclidean.rdistance(a, b), L2Dist.rdistance(a, b)), "{columns}");
                let (first, last) = (a.row(0), b.row(2));
                assert!(near(Euclidean.rdistance(first, last), L2Dist.rdistance(first, last)), "{columns}");
            }
        }
        assert_eq!((Euclidean.rdist_to_dist(9.0), Euclidean.dist_to_rdist(3.0)), (3.0, 9.0));
    }

    #[test]
    fn one_row_of_each_cluster_is_chosen() {
        let row = |i: usize| vec![(i % 3) as f32 * 10.0 + (i / 3) as f32 * 0.1, (i % 3) as f32];
        let rows: Vec<_> = (0..30).map(row).collect();
        let mut clusters: Vec<_> =
            representatives(&rows, 3, &mut seed::generator(1, "memory", 0)).iter().map(|row| row % 3).collect();
        clusters.sort_unstable();
        assert_eq!(clusters, [0, 1, 2]);
    }

    #[test]
    fn identical_rows_give_distinct_representatives() {
        let rows = vec![vec![1.0, 2.0]; 5];
        let mut chosen = representatives(&rows, 3, &mut seed::generator(1, "memory", 0));
        chosen.sort_unstable();
        chosen.dedup();
        assert_eq!(chosen.len(), 3);
        assert_eq!(representatives(&rows[..2], 3, &mut seed::generator(1, "memory", 0)), [0, 1]);
    }

    #[test]
    fn a_seed_decides_and_rows_that_are_not_numbers_do_no_harm() {
        let mut rows: Vec<Vec<f32>> = (0..60).map(|i| vec![(i * 37 % 61) as f32, (i * 17 % 59) as f32]).collect();
        let draw = |rows: &[Vec<f32>], seed| representatives(rows, 12, &mut seed::generator(seed, "memory", 0));
        assert_eq!(draw(&rows, 1), draw(&rows, 1));
        assert!((2..12).any(|seed| draw(&rows, seed) != draw(&rows, 1)));
        rows[7][0] = f32::NAN;
        let chosen: std::collections::BTreeSet<usize> = draw(&rows, 1).into_iter().collect();
        assert_eq!(chosen.len(), 12);
    }
}
