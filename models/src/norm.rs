//! Layer normalisation (Ba et al. 2016) from differentiable operations: `y = (x - mean) / √(var + ε) · weight + bias`
//! over the last dimension. candle's own fused forward is cut from the graph.

use candle_core::{D, Result, Tensor};
use candle_nn::{Init, VarBuilder};

/// Weight and bias of size `H`.
#[derive(Debug, Clone)]
pub struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
    eps: f64,
}

impl LayerNorm {
    /// Variables `weight` (ones) and `bias` (zeros).
    ///
    /// # Errors
    /// A stored tensor of another shape.
    pub fn new(size: usize, eps: f64, vb: VarBuilder<'_>) -> Result<Self> {
        let weight = vb.get_with_hints(size, "weight", Init::Const(1.0))?;
        Ok(Self { weight, bias: vb.get_with_hints(size, "bias", Init::Const(0.0))?, eps })
    }

    /// `[.., H]` to `[.., H]`.
    ///
    /// # Errors
    /// A last dimension other than `H`.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
        let deviation = (centred.sqr()?.mean_keepdim(D::Minus1)? + self.eps)?.sqrt()?;
        centred.broadcast_div(&deviation)?.broadcast_mul(&self.weight)?.broadcast_add(&self.bias)
    }
}
