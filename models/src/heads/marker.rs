//! MKGformer's relation head (Chen et al., SIGIR 2022): the states of the two opening markers → dropout → linear.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;

use super::states::marker_states;
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

    /// Returns features `[B, 2H]` from `hidden` `[B, T, H]` and the positions `[B]` u32 of the opening markers of head
    /// and tail.
    ///
    /// # Errors
    /// The shapes do not match.
    pub fn features(&self, hidden: &Tensor, head: &Tensor, tail: &Tensor, mode: &mut Mode<'_>) -> Result<Tensor> {
        mode.dropout(&marker_states(hidden, head, tail)?, self.dropout)
    }

    /// Returns logits `[B, L]` of features `[B, 2H]`.
    ///
    /// # Errors
    /// The shapes do not match.
    pub fn logits(&self, features: &Tensor) -> Result<Tensor> {
        self.classifier.forward(features)
    }
}
