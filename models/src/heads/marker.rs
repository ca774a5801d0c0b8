//! MKGformer's relation head (Chen et al., SIGIR 2022): the states of the two opening markers → dropout → linear.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;

use crate::init::uniform_linear;
use crate::mode::Mode;
use crate::ops::Linear;

/// MKGformer's relation head, with the variables `classifier`.
pub struct MarkerHead {
    classifier: Linear,
    dropout: f64,
}

impl MarkerHead {
    /// Creates a head over `labels` labels.
    ///
    /// # Errors
    /// Stored tensors have other shapes.
    pub fn new(hidden: usize, labels: usize, dropout: f64, vb: VarBuilder<'_>) -> Result<Self> {
        Ok(Self { classifier: uniform_linear(2 * hidden, labels, true, &vb.pp("classifier"))?, dropout })
    }

    /// Returns features `[B, 2H]` from the states `[B, 2, H]` at the opening markers of head and tail.
    ///
    /// # Errors
    /// The shapes do not match.
    pub fn features(&self, markers: &Tensor, mode: &mut Mode<'_>) -> Result<Tensor> {
        mode.dropout(&markers.flatten_from(1)?, self.dropout)
    }

    /// Returns logits `[B, L]` of features `[B, 2H]`.
    ///
    /// # Errors
    /// The shapes do not match.
    pub fn logits(&self, features: &Tensor) -> Result<Tensor> {
        self.classifier.forward(features)
    }
}
