//! Random numbers as functions of a key and an index: Philox 4x32-10 (Salmon et al. 2011, as in PyTorch and cuRAND),
//! and normal values made of them by Box and Muller's method. Any thread can make any part of a sequence.

use macro_rules_attribute::apply;

use super::maths::{ln, turn};
use super::threads::run;
use crate::simd::vectorised;

/// Blocks made at once, enough to fill the widest registers.
pub(super) const BLOCKS: usize = 16;

/// Returns the four words of each of `BLOCKS` blocks, from block `first` on.
#[inline(always)]
pub(super) fn philox(key: u64, first: u64) -> [[u32; BLOCKS]; 4] {
    let mut a: [u32; BLOCKS] = std::array::from_fn(|block| (first + block as u64) as u32);
    let mut b: [u32; BLOCKS] = std::array::from_fn(|block| ((first + block as u64) >> 32) as u32);
    let mut c = [0; BLOCKS];
    let mut d = [0; BLOCKS];
    let mut key = [key as u32, (key >> 32) as u32];
    for _ in 0..10 {
        for i in 0..BLOCKS {
            let x = u64::from(a[i]) * 0xD251_1F53;
            let y = u64::from(c[i]) * 0xCD9E_8D57;
            (a[i], c[i]) = ((y >> 32) as u32 ^ b[i] ^ key[0], (x >> 32) as u32 ^ d[i] ^ key[1]);
            (b[i], d[i]) = (y as u32, x as u32);
        }
        key = [key[0].wrapping_add(0x9E37_79B9), key[1].wrapping_add(0xBB67_AE85)];
    }
    [a, b, c, d]
}

/// Values that one call of [`philox`] gives.
const GROUP: usize = 4 * BLOCKS;
/// Values in one piece of work, a whole number of groups.
const PIECE: usize = 256 * GROUP;

/// Replaces x by `factor` x + `deviation` ε, with ε standard normal by `key`.
pub(crate) fn add_normal(x: &mut [f32], factor: f32, deviation: f32, key: u64) {
    run(x.chunks_mut(PIECE).enumerate(), |(piece, x)| add(x, factor, deviation, key, (piece * PIECE / 4) as u64));
}

#[apply(vectorised)]
fn add(x: &mut [f32], factor: f32, deviation: f32, key: u64, first: u64) {
    for (group, x) in x.chunks_mut(GROUP).enumerate() {
        let normal = normal(philox(key, first + (group * BLOCKS) as u64));
        x.iter_mut().zip(normal.as_flattened()).for_each(|(x, normal)| *x = factor * *x + deviation * normal);
    }
}

/// Makes two normal values of two words: r cos φ and r sin φ with r = √(-2 ln u), u in (0, 1].
#[inline(always)]
fn normal([a, b, c, d]: [[u32; BLOCKS]; 4]) -> [[f32; BLOCKS]; 4] {
    const UNIT: f32 = 1.0 / 16_777_216.0;
    let mut values = [[0.0; BLOCKS]; 4];
    for (pair, (u, v)) in [(a, b), (c, d)].into_iter().enumerate() {
        for i in 0..BLOCKS {
            let r = (-2.0 * ln(((u[i] >> 8) + 1) as f32 * UNIT)).sqrt();
            let (sin, cos) = turn((v[i] >> 8) as f32 * UNIT);
            (values[2 * pair][i], values[2 * pair + 1][i]) = (r * cos, r * sin);
        }
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Random123's `kat_vectors` for philox4x32-10 begin with the first; the other is a plain loop's in Python.
    #[test]
    fn words_are_those_of_philox() {
        let words = |key| philox(key, 0).map(|words| words[0]);
        assert_eq!(words(0), [0x6627_E8D5, 0xE169_C58D, 0xBC57_AC4C, 0x9B00_DBD8]);
        assert_eq!(words(u64::MAX), [0x72A4_7709, 0x1547_4739, 0x9F41_B01F, 0x2279_9A5A]);
    }

    /// Moments, tails and neighbours of a million values, within five standard errors of a normal distribution's.
    #[test]
    fn normal_values_are_normal() {
        let mut x = vec![0.0f32; 1_000_000];
        add_normal(&mut x, 1.0, 1.0, 9);
        let n = x.len() as f64;
        let mean = |f: &dyn Fn(f64) -> f64| x.iter().map(|x| f(f64::from(*x))).sum::<f64>() / n;
        for (moment, expected, variance) in [(1, 0.0, 1.0), (2, 1.0, 2.0), (3, 0.0, 15.0), (4, 3.0, 96.0)] {
            let error = mean(&|x| x.powi(moment)) - expected;
            assert!(error.abs() < 5.0 * (variance / n).sqrt(), "moment {moment}: {error}");
        }
        for (limit, share) in [(1.0, 0.317_310_5), (2.0, 0.045_500_3), (3.0, 0.002_699_8), (4.0, 6.334e-5)] {
            let error = mean(&|x| f64::from(u8::from(x.abs() > limit))) - share;
            assert!(error.abs() < 5.0 * (share / n).sqrt(), "beyond {limit}: {error}");
        }
        for lag in [1, BLOCKS, GROUP] {
            let product = x.iter().zip(&x[lag..]).map(|(a, b)| f64::from(a * b)).sum::<f64>() / n;
            assert!(product.abs() < 5.0 / n.sqrt(), "lag {lag}: {product}");
        }
        let mut again = vec![2.0f32; 70_000];
        let mut other = vec![0.0f32; 70_000];
        add_normal(&mut again, 0.5, 1.0, 9);
        add_normal(&mut other, 1.0, 1.0, 10);
        assert!(again.iter().zip(&x).all(|(again, x)| (again - 1.0 - x).abs() < 1e-6));
        assert!(other.iter().zip(&x).filter(|(other, x)| other == x).count() < 100);
    }
}
