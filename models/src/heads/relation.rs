//! The relation head on entity markers of RP-CRE (Cui et al. 2021) and EMAR-BERT: the states of the two opening
//! markers → dropout → `Linear(2H, H)` → GELU → layer norm → bias-free classifier.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;

use crate::init::uniform_linear;
use crate::mode::Mode;
use crate::ops::{self, LayerNorm, Linear};

/// Everything before the classifier, with the variables `dense` and `norm`.
pub(super) struct MarkerFeature {
    dense: Linear,
    norm: LayerNorm,
    dropout: f64,
}

impl MarkerFeature {
    pub fn new(hidden: usize, dropout: f64, vb: &VarBuilder<'_>) -> Result<Self> {
        let dense = uniform_linear(2 * hidden, hidden, true, &vb.pp("dense"))?;
        Ok(Self { dense, norm: LayerNorm::new(hidden, 1e-5, vb.pp("norm"))?, dropout })
    }

    /// Returns features `[B, H]` from the states `[B, 2, H]` at the opening markers of head and tail.
    pub fn forward(&self, markers: &Tensor, mode: &mut Mode<'_>) -> Result<Tensor> {
        let markers = mode.dropout(&markers.flatten_from(1)?, self.dropout)?;
        self.norm.forward(&ops::gelu_erf(&self.dense.forward(&markers)?)?)
    }
}

/// A relation head on entity markers, with the variables `dense`, `norm` and `classifier`.
pub struct RelationHead {
    feature: MarkerFeature,
    classifier: Linear,
}

impl RelationHead {
    /// Creates a head over `labels` labels.
    ///
    /// # Errors
    /// Stored tensors have other shapes.
    pub fn new(hidden: usize, labels: usize, dropout: f64, vb: VarBuilder<'_>) -> Result<Self> {
        let feature = MarkerFeature::new(hidden, dropout, &vb)?;
        Ok(Self { feature, classifier: uniform_linear(hidden, labels, false, &vb.pp("classifier"))? })
    }

    /// Returns features `[B, H]` from the states `[B, 2, H]` at the opening markers of head and tail.
    ///
    /// # Errors
    /// The shapes do not match.
    pub fn features(&self, markers: &Tensor, mode: &mut Mode<'_>) -> Result<Tensor> {
        self.feature.forward(markers, mode)
    }

    /// Returns logits `[B, L]` of features `[B, H]`.
    ///
    /// # Errors
    /// The shapes do not match.
    pub fn logits(&self, features: &Tensor) -> Result<Tensor> {
        self.classifier.forward(features)
    }
}
