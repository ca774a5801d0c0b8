//! The head of a [`super::Learner`]: which one a task and an architecture have, behind one interface. Relation heads
//! score rows, entity heads score words.

use candle_core::Tensor;
use candle_nn::VarBuilder;
use mkgc_builder::corpus::Extraction;
use mkgc_models::heads::{
    ClassHead, Crf, EntityHead, JointEntityHead, JointMarkerHead, JointRelationHead, MarkerHead, RelationHead,
    StreamSizes,
};
use mkgc_models::mode::Mode;
use mkgc_models::networks::Encoded;

use super::Architecture;
use crate::config::HeadInput;
use crate::data::Batch;
use crate::error::{Error, Result};

pub(super) enum Head {
    Relation(RelationHead),
    Markers(MarkerHead),
    Class(ClassHead),
    JointRelation(JointRelationHead),
    JointMarkers(JointMarkerHead),
    Entity(EntityHead),
    JointEntity(JointEntityHead),
}

/// Sizes a head is made from.
pub(super) struct HeadShape {
    pub streams: StreamSizes,
    pub labels: usize,
    pub dropout: f64,
    pub reads: HeadInput,
}

impl Head {
    pub(super) fn new(
        kind: Extraction,
        architecture: Architecture,
        shape: &HeadShape,
        vb: VarBuilder<'_>,
    ) -> Result<Self> {
        let HeadShape { streams, labels, dropout, reads } = *shape;
        let text = streams.text;
        Ok(match (kind, architecture, reads) {
            (Extraction::Entities, Architecture::Dual, _) => {
                Self::JointEntity(JointEntityHead::new(streams, labels, dropout, vb)?)
            }
            (Extraction::Entities, ..) => Self::Entity(EntityHead::new(text, labels, dropout, vb)?),
            (Extraction::Relations, Architecture::Dual, HeadInput::Cls) => {
                Self::JointRelation(JointRelationHead::new(streams, labels, dropout, vb)?)
            }
            (Extraction::Relations, Architecture::Dual, HeadInput::Markers) => {
                Self::JointMarkers(JointMarkerHead::new(streams, labels, dropout, vb)?)
            }
            (Extraction::Relations, _, HeadInput::Cls) => Self::Class(ClassHead::new(text, labels, dropout, vb)?),
            (Extraction::Relations, Architecture::Mkgformer, HeadInput::Markers) => {
                Self::Markers(MarkerHead::new(text, labels, dropout, vb)?)
            }
            (Extraction::Relations, Architecture::Text, HeadInput::Markers) => {
                Self::Relation(RelationHead::new(text, labels, dropout, vb)?)
            }
        })
    }

    /// Returns the positions `[B, A]` of the text whose states the head reads.
    pub(super) fn positions(&self, batch: &Batch) -> Result<Tensor> {
        Ok(match self {
            Self::Class(_) | Self::JointRelation(_) => batch.anchors.narrow(1, 0, 1)?.zeros_like()?,
            _ => batch.anchors.clone(),
        })
    }

    /// Returns what the classifier reads, RE `[B, F]` or NER `[B, W, F]`, of a network that read [`Head::positions`].
    pub(super) fn features(&self, encoded: &Encoded, batch: &Batch, mode: &mut Mode<'_>) -> Result<Tensor> {
        let missing = || Error::Usage("a joint head needs a network with a vision stream".to_owned());
        let vision = || encoded.vision.as_ref().ok_or_else(missing);
        Ok(match self {
            Self::Relation(head) => head.features(&encoded.text, mode)?,
            Self::Markers(head) => head.features(&encoded.text, mode)?,
            Self::Class(head) => head.features(&encoded.text, mode)?,
            Self::JointRelation(head) => head.features(&encoded.text, vision()?, mode)?,
            Self::JointMarkers(head) => head.features(&encoded.text, vision()?, mode)?,
            Self::Entity(head) => head.features(&encoded.text, mode)?,
            Self::JointEntity(head) => {
                let positions = encoded.positions.as_ref().ok_or_else(missing)?;
                head.features([&encoded.text, vision()?, positions], &batch.anchors, mode)?
            }
        })
    }

    /// Scores features: relations logits `[B, L]`, entities emissions `[B, W, L]`.
    pub(super) fn scores(&self, features: &Tensor) -> Result<Tensor> {
        Ok(match self {
            Self::Relation(head) => head.logits(features)?,
            Self::Markers(head) => head.logits(features)?,
            Self::Class(head) => head.logits(features)?,
            Self::JointRelation(head) => head.logits(features)?,
            Self::JointMarkers(head) => head.logits(features)?,
            Self::Entity(head) => head.emissions(features)?,
            Self::JointEntity(head) => head.emissions(features)?,
        })
    }

    /// Scores each stream alone, `W^u h^u + b/2`: text, vision. None for heads that read one stream.
    pub(super) fn stream_scores(&self, features: &Tensor) -> Result<Option<(Tensor, Tensor)>> {
        Ok(match self {
            Self::JointRelation(head) => Some(head.stream_scores(features)?),
            Self::JointMarkers(head) => Some(head.stream_scores(features)?),
            Self::JointEntity(head) => Some(head.stream_scores(features)?),
            _ => None,
        })
    }

    /// Scores the text as LMC's released code does for relations; none for other heads.
    pub(super) fn bracketed_text_scores(&self, features: &Tensor) -> Result<Option<Tensor>> {
        let Self::JointRelation(head) = self else { return Ok(None) };
        Ok(Some(head.bracketed_text_scores(features)?))
    }

    /// Returns whether the head reads both streams.
    pub(super) fn joint(&self) -> bool {
        matches!(self, Self::JointRelation(_) | Self::JointMarkers(_) | Self::JointEntity(_))
    }

    /// Returns the CRF of an entity head; none for relations.
    pub(super) fn crf(&self) -> Option<&Crf> {
        match self {
            Self::Entity(head) => Some(head.crf()),
            Self::JointEntity(head) => Some(head.crf()),
            _ => None,
        }
    }
}
