//! k-means (Lloyd's algorithm from k-means++ seeds) for memory selection, and the rows nearest to its centroids.

use rand::Rng;

const ITERATIONS: usize = 50;

/// Indices of the rows nearest to the centroids of `min(k, rows)` clusters, each row once: a centroid whose nearest row
/// is taken gets the next nearest.
pub fn representatives(rows: &[Vec<f32>], k: usize, rng: &mut impl Rng) -> Vec<usize> {
    if rows.len() <= k {
        return (0..rows.len()).collect();
    }
    let mut chosen: Vec<usize> = Vec::with_capacity(k);
    for centroid in centroids(rows, k, rng) {
        let free = (0..rows.len()).filter(|row| !chosen.contains(row));
        chosen.extend(free.min_by(|a, b| distance(&rows[*a], &centroid).total_cmp(&distance(&rows[*b], &centroid))));
    }
    chosen
}

fn centroids(rows: &[Vec<f32>], k: usize, rng: &mut impl Rng) -> Vec<Vec<f32>> {
    let mut centroids = plus_plus(rows, k, rng);
    let mut assigned = vec![usize::MAX; rows.len()];
    for _ in 0..ITERATIONS {
        let nearest: Vec<usize> = rows.iter().map(|row| nearest(row, &centroids)).collect();
        if nearest == assigned {
            break;
        }
        assigned = nearest;
        for (cluster, centroid) in centroids.iter_mut().enumerate() {
            let members = || rows.iter().zip(&assigned).filter(|(_, own)| **own == cluster).map(|(row, _)| row);
            let count = members().count();
            if count > 0 {
                centroid.fill(0.0);
                members()
                    .for_each(|row| centroid.iter_mut().zip(row).for_each(|(sum, value)| *sum += value / count as f32));
            }
        }
    }
    centroids
}

/// Arthur and Vassilvitskii 2007: each seed is drawn with probability proportional to its squared distance from the
/// seeds before it.
fn plus_plus(rows: &[Vec<f32>], k: usize, rng: &mut impl Rng) -> Vec<Vec<f32>> {
    let mut seeds = vec![rows[rng.random_range(0..rows.len())].clone()];
    while seeds.len() < k {
        let weights: Vec<f64> = rows.iter().map(|row| f64::from(distance(row, &seeds[nearest(row, &seeds)]))).collect();
        let mut left = rng.random::<f64>() * weights.iter().sum::<f64>();
        let drawn = weights.iter().position(|weight| {
            left -= weight;
            left < 0.0
        });
        seeds.push(rows[drawn.unwrap_or(rows.len() - 1)].clone());
    }
    seeds
}

fn nearest(row: &[f32], centroids: &[Vec<f32>]) -> usize {
    let closer = |best: usize, next: usize| {
        if distance(row, &centroids[next]) < distance(row, &centroids[best]) { next } else { best }
    };
    (1..centroids.len()).fold(0, closer)
}

fn distance(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum()
}

#[cfg(test)]
mod tests {
    use super::representatives;
    use crate::seed;

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
}
