//! Layer normalisation (Ba et al. 2016): `y = (x - mean) / √(var + ε) · weight + bias` over the last dimension.

use candle_core::{Result, Shape, Tensor};
use candle_nn::{Init, VarBuilder};

use crate::ops::layer_norm;

/// Weight and bias of size `H`.
#[derive(Debug, Clone)]
pub struct LayerNorm {
    pub(crate) weight: Tensor,
    pub(crate) bias: Tensor,
    pub(crate) eps: f64,
}

impl LayerNorm {
    /// Variables `weight` (ones) and `bias` (zeros) of `shape`; one of several axes is normalised over all of them
    /// jointly, as rows `H` = their product.
    ///
    /// # Errors
    /// A stored tensor of another shape.
    pub fn new(shape: impl Into<Shape>, eps: f64, vb: VarBuilder<'_>) -> Result<Self> {
        let shape = shape.into();
        let variable = |name: &str, value| vb.get_with_hints(&shape, name, Init::Const(value))?.flatten_all();
        Ok(Self { weight: variable("weight", 1.0)?, bias: variable("bias", 0.0)?, eps })
    }

    /// `[.., H]` to `[.., H]`.
    ///
    /// # Errors
    /// A last dimension other than `H`.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        layer_norm(x, &self.weight, &self.bias, self.eps)
    }
}
