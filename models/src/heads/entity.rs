//! The entity head: the states of each word's first piece → dropout → linear emissions → linear-chain CRF.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;

use super::crf::Crf;
use crate::init::uniform_linear;
use crate::mode::Mode;
use crate::ops::Linear;

/// An entity head, with the variables `emission` and `crf`.
pub struct EntityHead {
    emission: Linear,
    crf: Crf,
    dropout: f64,
}

impl EntityHead {
    /// Creates a head over `tags` tags.
    ///
    /// # Errors
    /// Stored tensors have other shapes.
    pub fn new(hidden: usize, tags: usize, dropout: f64, vb: VarBuilder<'_>) -> Result<Self> {
        let emission = uniform_linear(hidden, tags, true, &vb.pp("emission"))?;
        Ok(Self { emission, crf: Crf::new(tags, vb.pp("crf"))?, dropout })
    }

    /// Returns features `[B, W, H]` from the states `[B, W, H]` of the words' first pieces.
    ///
    /// # Errors
    /// The shapes do not match.
    pub fn features(&self, words: &Tensor, mode: &mut Mode<'_>) -> Result<Tensor> {
        mode.dropout(words, self.dropout)
    }

    /// Returns emissions `[B, W, L]` of features `[B, W, H]`.
    ///
    /// # Errors
    /// The shapes do not match.
    pub fn emissions(&self, features: &Tensor) -> Result<Tensor> {
        self.emission.forward(features)
    }

    /// Returns the random field over the emissions.
    pub fn crf(&self) -> &Crf {
        &self.crf
    }
}
