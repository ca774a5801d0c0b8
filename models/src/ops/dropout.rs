//! Inverted dropout whose mask is a function of a key and an element's index: nothing is stored, both passes and any
//! number of threads see the same mask.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};
use macro_rules_attribute::apply;

use super::philox::{BLOCKS, philox};
use super::{Host, PIECE, fused, run, values};
use crate::simd::vectorised;

/// A mask over the elements of one tensor.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mask {
    key: u64,
    /// An element is dropped where its draw of 16 bits is below.
    threshold: u16,
    /// 1 / (1 - p), for the others.
    scale: f32,
}

/// Draws of a block.
const DRAWS: usize = 8;
/// Elements whose draws are made at once.
const GROUP: usize = BLOCKS * DRAWS;

impl Mask {
    /// Drops with probability `p`, in steps of 1/65536.
    pub fn new(key: u64, p: f64) -> Self {
        Self { key, threshold: (p * 65_536.0) as u16, scale: (1.0 / (1.0 - p)) as f32 }
    }

    /// Key, threshold and scale, for the kernels.
    #[cfg(feature = "cuda")]
    pub(super) fn parts(self) -> (u64, u32, f32) {
        (self.key, u32::from(self.threshold), self.scale)
    }

    /// Masks `x`, the elements from index `start` on.
    pub fn apply(&self, start: usize, x: &mut [f32]) {
        apply(*self, start, x);
    }

    /// A whole tensor, masked.
    pub(super) fn masked(&self, x: &[f32]) -> Vec<f32> {
        let mut y = x.to_vec();
        run(y.chunks_mut(PIECE).enumerate(), |(piece, y)| self.apply(piece * PIECE, y));
        y
    }

    /// Draws of the elements of `BLOCKS` blocks: element i has bits of word i / 2BLOCKS of the block i mod BLOCKS.
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
fn apply(mask: Mask, start: usize, x: &mut [f32]) {
    let (mut at, mut rest) = (start, x);
    while !rest.is_empty() {
        let skip = at % GROUP;
        let (part, later) = rest.split_at_mut((GROUP - skip).min(rest.len()));
        let draws = mask.draws((at / GROUP * BLOCKS) as u64);
        for (x, draw) in part.iter_mut().zip(&draws[skip..]) {
            *x = if *draw < u32::from(mask.threshold) { 0.0 } else { *x * mask.scale };
        }
        (at, rest) = (at + part.len(), later);
    }
}

/// `x` of any shape.
pub(crate) fn dropout(x: &Tensor, mask: Mask) -> Result<Tensor> {
    if fused(x) {
        return x.contiguous()?.apply_op1(mask);
    }
    #[cfg(feature = "cuda")]
    if super::cuda::takes(x) {
        return super::cuda::dropout(x, mask);
    }
    let mut factors = vec![1.0; x.elem_count()];
    mask.apply(0, &mut factors);
    x * Tensor::from_vec(factors, x.shape(), x.device())?.to_dtype(x.dtype())?
}

impl CustomOp1 for Mask {
    fn name(&self) -> &'static str {
        "dropout"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        Ok((CpuStorage::F32(self.masked(values(x, layout)?)), layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let grad = grad.contiguous()?;
        let grad = Host::new(&grad)?;
        Tensor::from_vec(self.masked(grad.values()?), x.shape(), x.device()).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_does_not_depend_on_where_it_is_cut() {
        let mask = Mask::new(7, 0.3);
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
