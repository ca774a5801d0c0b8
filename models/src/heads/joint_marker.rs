//! Relation head of two streams on entity markers: one linear layer W = [Wᵗ, Wᵛ] over [feature ; vision], where the
//! feature is that of [`super::relation`] and vision the class state of the vision stream. With it, two streams and one
//! differ by the picture alone.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;

use super::class_state;
use super::joint::{JointLinear, StreamSizes};
use super::relation::MarkerFeature;
use crate::mode::Mode;

/// Variables `dense`, `norm`, `classifier`. Dropout falls on the states that the head reads: those of the markers and
/// the class state of the vision stream.
pub struct JointMarkerHead {
    feature: MarkerFeature,
    classifier: JointLinear,
    dropout: f64,
}

impl JointMarkerHead {
    /// A head over `labels` labels.
    ///
    /// # Errors
    /// Stored tensors of other shapes.
    pub fn new(sizes: StreamSizes, labels: usize, dropout: f64, vb: VarBuilder<'_>) -> Result<Self> {
        let feature = MarkerFeature::new(sizes.text, dropout, &vb)?;
        Ok(Self { feature, classifier: JointLinear::new(sizes, labels, &vb.pp("classifier"))?, dropout })
    }

    /// Returns `[B, H + Hv]` from the states `[B, 2, H]` of the text at the opening markers of head and tail, and from
    /// `vision` `[B, V, Hv]`.
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn features(&self, markers: &Tensor, vision: &Tensor, mode: &mut Mode<'_>) -> Result<Tensor> {
        let seen = mode.dropout(&class_state(vision)?, self.dropout)?;
        Tensor::cat(&[self.feature.forward(markers, mode)?, seen], 1)
    }

    /// Logits `[B, L]` of features `[B, H + Hv]`.
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn logits(&self, features: &Tensor) -> Result<Tensor> {
        self.classifier.linear.forward(features)
    }

    /// What each stream alone says: `Wᵗ hᵗ + b/2` and `Wᵛ hᵛ + b/2`, `[B, L]` each; their sum is the logits.
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn stream_scores(&self, features: &Tensor) -> Result<(Tensor, Tensor)> {
        self.classifier.stream_scores(features)
    }
}
