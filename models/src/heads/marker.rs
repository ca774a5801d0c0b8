//! MKGformer's relation head (Chen et al., SIGIR 2022): the states of the two opening markers → dropout → linear.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;

use super::linear;
use crate::linear::Linear;
use crate::mode::Mode;

/// Variables `classifier`.
pub struct MarkerHead {
    classifier: Linear,
    dropout: f64,
}

impl MarkerHead {
    /// A head over `labels` labels.
    ///
    /// # Errors
    /// Stored tensors of other shapes.
    pub fn new(hidden: usize, labels: usize, dropout: f64, vb: VarBuilder<'_>) -> Result<Self> {
        Ok(Self { classifier: linear(2 * hidden, labels, true, &vb.pp("classifier"))?, dropout })
    }

    /// Returns `[B, 2H]` from the states `[B, 2, H]` at the opening markers of head and tail.
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn features(&self, markers: &Tensor, mode: &mut Mode<'_>) -> Result<Tensor> {
        mode.dropout(&markers.flatten_from(1)?, self.dropout)
    }

    /// Logits `[B, L]` of features `[B, 2H]`.
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn logits(&self, features: &Tensor) -> Result<Tensor> {
        self.classifier.forward(features)
    }
}
