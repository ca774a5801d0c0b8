//! The relation head on the class state of the text: state of `[CLS]` → dropout → linear.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;

use super::states::class_state;
use crate::init::uniform_linear;
use crate::mode::Mode;
use crate::ops::Linear;

/// A relation head on the class state, with the variables `classifier`.
pub struct ClassHead {
    classifier: Linear,
    dropout: f64,
}

impl ClassHead {
    /// Creates a head over `labels` labels.
    ///
    /// # Errors
    /// Stored tensors have other shapes.
    pub fn new(hidden: usize, labels: usize, dropout: f64, vb: VarBuilder<'_>) -> Result<Self> {
        Ok(Self { classifier: uniform_linear(hidden, labels, true, &vb.pp("classifier"))?, dropout })
    }

    /// Returns features `[B, H]` of the states `hidden` `[B, T, H]`.
    ///
    /// # Errors
    /// The shapes do not match.
    pub fn features(&self, hidden: &Tensor, mode: &mut Mode<'_>) -> Result<Tensor> {
        mode.dropout(&class_state(hidden)?, self.dropout)
    }

    /// Returns logits `[B, L]` of features `[B, H]`.
    ///
    /// # Errors
    /// The shapes do not match.
    pub fn logits(&self, features: &Tensor) -> Result<Tensor> {
        self.classifier.forward(features)
    }
}
