//! MKGformer's relation head (Chen et al., SIGIR 2022): the states of the two opening markers → dropout → linear.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;

use super::{at, linear};
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

    /// `[B, 2H]` from `hidden` `[B, T, H]` and the positions `[B]` u32 of the opening markers of head and tail.
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn features(&self, hidden: &Tensor, head: &Tensor, tail: &Tensor, mode: &mut Mode<'_>) -> Result<Tensor> {
        let pair = at(hidden, &Tensor::stack(&[head, tail], 1)?)?.flatten_from(1)?;
        mode.dropout(&pair, self.dropout)
    }

    /// Logits `[B, L]` of features `[B, 2H]`.
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn logits(&self, features: &Tensor) -> Result<Tensor> {
        self.classifier.forward(features)
    }
}
