//! The relation head of two streams on entity markers: one linear layer W = [Wᵗ, Wᵛ] over [feature ; vision], where the
//! feature is that of `relation` and vision is the class state of the vision stream. With this head, networks of two
//! streams and of one differ by the picture alone.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;

use super::joint::{JointLinear, StreamSizes};
use super::relation::MarkerFeature;
use super::states::class_state;
use crate::mode::Mode;

/// A relation head on the markers and on the vision stream, with the variables `dense`, `norm` and `classifier`.
/// Dropout applies to the states that the head reads: those of the markers and the class state of the vision stream.
pub struct JointMarkerHead {
    feature: MarkerFeature,
    classifier: JointLinear,
    dropout: f64,
}

impl JointMarkerHead {
    /// Creates a head over `labels` labels.
    ///
    /// # Errors
    /// Stored tensors have other shapes.
    pub fn new(sizes: StreamSizes, labels: usize, dropout: f64, vb: VarBuilder<'_>) -> Result<Self> {
        let feature = MarkerFeature::new(sizes.text, dropout, &vb)?;
        Ok(Self { feature, classifier: JointLinear::new(sizes, labels, &vb.pp("classifier"))?, dropout })
    }

    /// Returns features `[B, H + Hv]` from the text's states `[B, 2, H]` at the opening markers of head and tail, and from
    /// `vision` `[B, V, Hv]`.
    ///
    /// # Errors
    /// The shapes do not match.
    pub fn features(&self, markers: &Tensor, vision: &Tensor, mode: &mut Mode<'_>) -> Result<Tensor> {
        let seen = mode.dropout(&class_state(vision)?, self.dropout)?;
        Tensor::cat(&[self.feature.forward(markers, mode)?, seen], 1)
    }

    /// Returns logits `[B, L]` of features `[B, H + Hv]`.
    ///
    /// # Errors
    /// The shapes do not match.
    pub fn logits(&self, features: &Tensor) -> Result<Tensor> {
        self.classifier.linear.forward(features)
    }

    /// Returns the scores of each stream alone, `Wᵗ hᵗ + b/2` and `Wᵛ hᵛ + b/2`, `[B, L]` each, whose sum is the
    /// logits.
    ///
    /// # Errors
    /// The shapes do not match.
    pub fn stream_scores(&self, features: &Tensor) -> Result<(Tensor, Tensor)> {
        self.classifier.stream_scores(features)
    }
}
