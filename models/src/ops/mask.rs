//! Dropout masks as functions of a key and an element's index: no mask is stored, and both passes and any number of
//! threads see the same one.

use macro_rules_attribute::apply;

use super::philox::{BLOCKS, philox};
use super::threads::{PIECE, run};
use crate::simd::vectorised;

/// A dropout mask over the elements of one tensor.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DropoutMask {
    key: u64,
    /// An element is dropped if its 16 random bits are below this.
    threshold: u16,
    /// Factor 1 / (1 - p) of the other elements.
    scale: f32,
}

/// Draws of 16 bits in one block of Philox.
const DRAWS: usize = 8;
/// Elements whose draws are made at once.
const GROUP: usize = BLOCKS * DRAWS;

impl DropoutMask {
    /// Creates the mask of `key`, which drops with probability `p`, in steps of 1/65536.
    pub fn new(key: u64, p: f64) -> Self {
        Self { key, threshold: (p * 65_536.0) as u16, scale: (1.0 / (1.0 - p)) as f32 }
    }

    /// Returns key, threshold and scale, for the kernels.
    #[cfg(feature = "cuda")]
    pub(super) fn parts(self) -> (u64, u32, f32) {
        (self.key, u32::from(self.threshold), self.scale)
    }

    /// Masks `x`, the elements of the tensor from index `start` on.
    pub fn apply(&self, start: usize, x: &mut [f32]) {
        apply(*self, start, x);
    }

    /// Returns a whole tensor with the mask applied.
    pub(super) fn masked(&self, x: &[f32]) -> Vec<f32> {
        let mut y = x.to_vec();
        run(y.chunks_mut(PIECE).enumerate(), |(piece, y)| self.apply(piece * PIECE, y));
        y
    }

    /// Returns the draws of `BLOCKS` blocks: element i has bits of word i / 2BLOCKS of block i mod BLOCKS.
    #[inline(always)]
    fn draws(&self, first: u64) -> [u32; GROUP] {
        let mut draws = [0; GROUP];
        for (halves, words) in draws.chunks_exact_mut(2 * BLOCKS).zip(&philox(self.key, first)) {
            for i in 0..BLOCKS {
                (halves[i], halves[BLOCKS + i]) = (words[i] & 0xFFFF, words[i] >> 16);
            }
        }
        draws
    }
}

#[apply(vectorised)]
fn apply(mask: DropoutMask, start: usize, x: &mut [f32]) {
    let mut at = start;
    let mut rest = x;
    while !rest.is_empty() {
        let skip = at % GROUP;
        let (part, later) = rest.split_at_mut((GROUP - skip).min(rest.len()));
        let draws = mask.draws((at / GROUP * BLOCKS) as u64);
        for (x, draw) in part.iter_mut().zip(&draws[skip..]) {
            *x = if *draw < u32::from(mask.threshold) { 0.0 } else { *x * mask.scale };
        }
        at += part.len();
        rest = later;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_does_not_depend_on_where_it_is_cut() {
        let mask = DropoutMask::new(7, 0.3);
        let mut whole = vec![1.0; 1000];
        mask.apply(0, &mut whole);
        let mut parts = vec![1.0; 1000];
        let mut at = 0;
        for length in [1, 2, 125, 300, 129, 443] {
            mask.apply(at, &mut parts[at..at + length]);
            at += length;
        }
        assert_eq!(whole, parts);
        let dropped = whole.iter().filter(|x| **x == 0.0).count();
        assert!((240..360).contains(&dropped), "{dropped}");
    }
}
