//! The wide half of the feed-forward part: F = act(a), a = x W₁ᵀ + b₁ + e; MKGformer has the extra input e.
//!
//! Kept: a, `[M, I]`. Backward: da = dF ⊙ act'(a), which is ∂L/∂e too, and F again in the same pass over a.

use candle_core::{Result, Tensor};

use super::cpu::{CpuPart, InputGrads, bias_or_zeros, linear_gradients, linear_product};
use crate::ops::activation::{gelu, gelu_gradient};
use crate::ops::host::Host;
use crate::ops::layers::FeedForwardPart;
use crate::ops::linear::{add_to_rows, add_up};
use crate::ops::threads::{PIECE, rows_per_piece, run};

impl CpuPart for FeedForwardPart {
    type Kept = Vec<f32>;

    fn forward(&self, x: &[f32]) -> Result<(Vec<f32>, Vec<f32>)> {
        let mut a = linear_product(&self.up, x)?;
        let bias = bias_or_zeros(&self.up)?;
        let mut f = vec![0.0; a.len()];
        let size = rows_per_piece(bias.len()) * bias.len();
        let extra = self.extra.as_ref().map(Tensor::contiguous).transpose()?;
        let extra = extra.as_ref().map(Host::new).transpose()?;
        let extra = extra.as_ref().map(Host::values).transpose()?;
        if let Some(extra) = extra.filter(|extra| extra.len() != a.len()) {
            candle_core::bail!("a feed-forward part of {} values got {} to add", a.len(), extra.len());
        }
        run(f.chunks_mut(size).zip(a.chunks_mut(size)).enumerate(), |(piece, (f, a))| {
            add_to_rows(a, &bias);
            if let Some(extra) = extra {
                add_up(a, &extra[piece * size..][..a.len()]);
            }
            gelu(self.activation, a, f);
        });
        Ok((f, a))
    }

    fn rebuild(&self, a: &mut Vec<f32>, grad: &mut [f32]) -> Result<Vec<f32>> {
        run(a.chunks_mut(PIECE).zip(grad.chunks_mut(PIECE)), |(a, grad)| gelu_gradient(self.activation, a, grad));
        Ok(std::mem::take(a))
    }

    fn gradients(&self, x: &[f32], _: Vec<f32>, grad: Vec<f32>, dx: Option<Vec<f32>>) -> Result<InputGrads> {
        let x = linear_gradients(&self.up, &grad, x, dx)?;
        Ok(InputGrads { x, second: self.extra.as_ref().map(|_| grad) })
    }
}
