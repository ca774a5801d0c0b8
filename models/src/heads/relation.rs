//! Relation head on entity markers, as RP-CRE (Cui et al. 2021) and EMAR-BERT have it: the states of the two opening
//! markers → dropout → `Linear(2H, H)` → GELU → layer norm → bias-free classifier.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;

use super::linear;
use crate::linear::Linear;
use crate::mode::Mode;
use crate::norm::LayerNorm;
use crate::ops;

/// The feature layer: everything before the classifier. Variables `dense`, `norm`.
pub(super) struct MarkerFeature {
    dense: Linear,
    norm: LayerNorm,
    dropout: f64,
}

impl MarkerFeature {
    pub fn new(hidden: usize, dropout: f64, vb: &VarBuilder<'_>) -> Result<Self> {
        let dense = linear(2 * hidden, hidden, true, &vb.pp("dense"))?;
        Ok(Self { dense, norm: LayerNorm::new(hidden, 1e-5, vb.pp("norm"))?, dropout })
    }

    /// Returns `[B, H]` from the states `[B, 2, H]` at the opening markers of head and tail.
    pub fn forward(&self, markers: &Tensor, mode: &mut Mode<'_>) -> Result<Tensor> {
        let pair = mode.dropout(&markers.flatten_from(1)?, self.dropout)?;
        self.norm.forward(&ops::gelu_erf(&self.dense.forward(&pair)?)?)
    }
}

/// Variables `dense`, `norm`, `classifier`.
pub struct RelationHead {
    feature: MarkerFeature,
    classifier: Linear,
}

impl RelationHead {
    /// A head over `labels` labels.
    ///
    /// # Errors
    /// Stored tensors of other shapes.
    pub fn new(hidden: usize, labels: usize, dropout: f64, vb: VarBuilder<'_>) -> Result<Self> {
        let feature = MarkerFeature::new(hidden, dropout, &vb)?;
        Ok(Self { feature, classifier: linear(hidden, labels, false, &vb.pp("classifier"))? })
    }

    /// Returns `[B, H]` from the states `[B, 2, H]` at the opening markers of head and tail.
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn features(&self, markers: &Tensor, mode: &mut Mode<'_>) -> Result<Tensor> {
        self.feature.forward(markers, mode)
    }

    /// Logits `[B, L]` of features `[B, H]`.
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn logits(&self, features: &Tensor) -> Result<Tensor> {
        self.classifier.forward(features)
    }
}
