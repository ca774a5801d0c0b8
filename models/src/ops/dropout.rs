//! Inverted dropout from 16-bit draws: 0 where the draw is below the threshold, else x · scale. The draws are the mask
//! of both passes.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};

use super::{Host, PIECE, fused, run, values};

/// `x` of any shape; `draws` has two bytes for each value.
pub(crate) fn dropout(x: &Tensor, draws: Vec<u8>, threshold: u16, scale: f32) -> Result<Tensor> {
    let op = Dropout { draws, threshold, scale };
    if fused(x) {
        return x.contiguous()?.apply_op1(op);
    }
    let mask = Tensor::from_vec(op.apply(&vec![1.0; x.elem_count()]), x.shape(), x.device())?;
    x * mask.to_dtype(x.dtype())?
}

struct Dropout {
    draws: Vec<u8>,
    threshold: u16,
    scale: f32,
}

impl Dropout {
    fn apply(&self, x: &[f32]) -> Vec<f32> {
        let mut y = vec![0.0; x.len()];
        run(y.chunks_mut(PIECE).zip(x.chunks(PIECE)).zip(self.draws.chunks(2 * PIECE)), |((y, x), draws)| {
            for ((y, x), draw) in y.iter_mut().zip(x).zip(draws.chunks_exact(2)) {
                *y = if u16::from_le_bytes([draw[0], draw[1]]) < self.threshold { 0.0 } else { x * self.scale };
            }
        });
        y
    }
}

impl CustomOp1 for Dropout {
    fn name(&self) -> &'static str {
        "dropout"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        Ok((CpuStorage::F32(self.apply(values(x, layout)?)), layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let grad = grad.contiguous()?;
        let grad = Host::new(&grad)?;
        Tensor::from_vec(self.apply(grad.values()?), x.shape(), x.device()).map(Some)
    }
}
