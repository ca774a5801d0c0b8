//! The wide half of the feed-forward part: F = act(a), a = x W₁ᵀ + b₁.
//!
//! Kept: a, `[M, I]`. Backward: da = dF ⊙ act'(a), and F again in the same pass over a.

use candle_core::Result;

use super::super::activation::{Gelu, gelu, gelu_gradient};
use super::super::linear::add_to_rows;
use super::super::{PIECE, rows_per_piece, run};
use super::{Inner, bias_of, linear_gradients, linear_product};
use crate::linear::Linear;

/// W₁, b₁ and the activation.
pub(crate) struct FeedForwardParts {
    pub up: Linear,
    pub activation: Gelu,
}

impl Inner for FeedForwardParts {
    type Kept = Vec<f32>;

    fn forward(&self, x: &[f32]) -> Result<(Vec<f32>, Vec<f32>)> {
        let mut a = linear_product(&self.up, x)?;
        let bias = bias_of(&self.up)?;
        let mut f = vec![0.0; a.len()];
        let size = rows_per_piece(bias.len()) * bias.len();
        run(f.chunks_mut(size).zip(a.chunks_mut(size)), |(f, a)| {
            add_to_rows(a, &bias);
            gelu(self.activation, a, f);
        });
        Ok((f, a))
    }

    fn rebuild(&self, a: &mut Vec<f32>, grad: &mut [f32]) -> Result<Vec<f32>> {
        run(a.chunks_mut(PIECE).zip(grad.chunks_mut(PIECE)), |(a, grad)| gelu_gradient(self.activation, a, grad));
        Ok(std::mem::take(a))
    }

    fn gradients(&self, x: &[f32], _: Vec<f32>, grad: Vec<f32>, dx: Option<Vec<f32>>) -> Result<Vec<f32>> {
        linear_gradients(&self.up, &grad, x, dx)
    }

    fn layers(&self) -> Vec<&Linear> {
        vec![&self.up]
    }
}
