//! Relation head on the class state of the text: the state of `[CLS]` → dropout → linear.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;

use super::{class_state, linear};
use crate::linear::Linear;
use crate::mode::Mode;

/// Variables `classifier`.
pub struct ClassHead {
    classifier: Linear,
    dropout: f64,
}

impl ClassHead {
    /// A head over `labels` labels.
    ///
    /// # Errors
    /// Stored tensors of other shapes.
    pub fn new(hidden: usize, labels: usize, dropout: f64, vb: VarBuilder<'_>) -> Result<Self> {
        Ok(Self { classifier: linear(hidden, labels, true, &vb.pp("classifier"))?, dropout })
    }

    /// `[B, H]` from `hidden` `[B, T, H]`.
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn features(&self, hidden: &Tensor, mode: &mut Mode<'_>) -> Result<Tensor> {
        mode.dropout(&class_state(hidden)?, self.dropout)
    }

    /// Logits `[B, L]` of features `[B, H]`.
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn logits(&self, features: &Tensor) -> Result<Tensor> {
        self.classifier.forward(features)
    }
}
