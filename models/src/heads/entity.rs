//! Entity head: the states of each word's first piece → dropout → linear emissions → linear-chain CRF.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;

use super::linear;
use crate::crf::Crf;
use crate::linear::Linear;
use crate::mode::Mode;

/// Variables `emission`, `crf`.
pub struct EntityHead {
    emission: Linear,
    crf: Crf,
    dropout: f64,
}

impl EntityHead {
    /// A head over `tags` tags.
    ///
    /// # Errors
    /// Stored tensors of other shapes.
    pub fn new(hidden: usize, tags: usize, dropout: f64, vb: VarBuilder<'_>) -> Result<Self> {
        let emission = linear(hidden, tags, true, &vb.pp("emission"))?;
        Ok(Self { emission, crf: Crf::new(tags, vb.pp("crf"))?, dropout })
    }

    /// Returns `[B, W, H]` from the states `[B, W, H]` of the words' first pieces.
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn features(&self, words: &Tensor, mode: &mut Mode<'_>) -> Result<Tensor> {
        mode.dropout(words, self.dropout)
    }

    /// Emissions `[B, W, L]` of features `[B, W, H]`.
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn emissions(&self, features: &Tensor) -> Result<Tensor> {
        self.emission.forward(features)
    }

    /// The transition scores.
    pub fn crf(&self) -> &Crf {
        &self.crf
    }
}
