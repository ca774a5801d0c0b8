//! The wide half of the feed-forward part: F = act(a), a = x W₁ᵀ + b₁ + e, where MKGformer has the extra input e.
//!
//! Kept: a, `[M, I]`. Backward: da = dF ⊙ act'(a), which is ∂L/∂e too, and F again in the same pass over a.

use candle_core::{Result, Tensor};

use super::super::activation::{Gelu, gelu, gelu_gradient};
use super::super::linear::{add_to_rows, add_up};
use super::super::{Host, PIECE, rows_per_piece, run};
use super::{Gradients, Inner, bias_of, linear_gradients, linear_product};
use crate::linear::Linear;

/// W₁, b₁, the activation and e.
pub(crate) struct FeedForwardParts {
    pub up: Linear,
    pub activation: Gelu,
    /// Added before the activation, `[B, T, I]`.
    pub extra: Option<Tensor>,
}

impl Inner for FeedForwardParts {
    type Kept = Vec<f32>;

    fn forward(&self, x: &[f32]) -> Result<(Vec<f32>, Vec<f32>)> {
        let mut a = linear_product(&self.up, x)?;
        let bias = bias_of(&self.up)?;
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

    fn gradients(&self, x: &[f32], _: Vec<f32>, grad: Vec<f32>, dx: Option<Vec<f32>>) -> Result<Gradients> {
        let x = linear_gradients(&self.up, &grad, x, dx)?;
        Ok(Gradients { x, second: self.extra.as_ref().map(|_| grad) })
    }

    fn second_input(&self) -> Option<&Tensor> {
        self.extra.as_ref()
    }

    fn layers(&self) -> Vec<&Linear> {
        vec![&self.up]
    }
}
