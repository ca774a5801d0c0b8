//! Heads that read both streams, as LMC's (arXiv 2305.08698): one linear layer W = [Wᵗ, Wᵛ] over [text ; vision].
//!
//! RE reads the class states of both. NER reads, for each word, the state of its first piece at position i and the class
//! state of the vision stream + row i of BERT's own position embeddings (the variable that the text's input uses, not a
//! copy), and scores tag sequences with a linear-chain CRF.

use candle_core::{D, Result, Tensor};
use candle_nn::VarBuilder;

use super::{class_state, linear};
use crate::crf::Crf;
use crate::linear::Linear;
use crate::mode::Mode;

/// Hidden sizes of the streams.
#[derive(Debug, Clone, Copy)]
pub struct StreamSizes {
    /// `H`.
    pub text: usize,
    /// `Hv`; equal to `H` wherever streams share keys.
    pub vision: usize,
}

pub(super) struct JointLinear {
    pub linear: Linear,
    sizes: StreamSizes,
}

impl JointLinear {
    pub fn new(sizes: StreamSizes, labels: usize, vb: &VarBuilder<'_>) -> Result<Self> {
        Ok(Self { linear: linear(sizes.text + sizes.vision, labels, true, vb)?, sizes })
    }

    fn half_bias(&self) -> Result<Option<Tensor>> {
        self.linear.bias().map(|bias| bias / 2.0).transpose()
    }

    /// `W^u h^u + b/2` of the text and of the vision half of `features` `[.., H + Hv]`.
    pub fn stream_scores(&self, features: &Tensor) -> Result<(Tensor, Tensor)> {
        let half = |start, size| {
            let weight = self.linear.weight().narrow(1, start, size)?.contiguous()?;
            Linear::new(weight, self.half_bias()?).forward(&features.narrow(D::Minus1, start, size)?.contiguous()?)
        };
        Ok((half(0, self.sizes.text)?, half(self.sizes.text, self.sizes.vision)?))
    }

    /// `hᵗ (Wᵗᵀ + b/2)`: half the bias is added to every row of the matrix, so it counts once for each state.
    fn bracketed_text_scores(&self, features: &Tensor) -> Result<Tensor> {
        let mut matrix = self.linear.weight().narrow(1, 0, self.sizes.text)?.t()?;
        if let Some(bias) = self.half_bias()? {
            matrix = matrix.broadcast_add(&bias)?;
        }
        features.narrow(D::Minus1, 0, self.sizes.text)?.contiguous()?.broadcast_matmul(&matrix.contiguous()?)
    }
}

/// Variables `classifier`.
pub struct JointRelationHead {
    classifier: JointLinear,
    dropout: f64,
}

impl JointRelationHead {
    /// A head over `labels` labels.
    ///
    /// # Errors
    /// Stored tensors of other shapes.
    pub fn new(sizes: StreamSizes, labels: usize, dropout: f64, vb: VarBuilder<'_>) -> Result<Self> {
        Ok(Self { classifier: JointLinear::new(sizes, labels, &vb.pp("classifier"))?, dropout })
    }

    /// `[B, H + Hv]` from the class states of `text` `[B, T, H]` and `vision` `[B, V, Hv]`.
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn features(&self, text: &Tensor, vision: &Tensor, mode: &mut Mode<'_>) -> Result<Tensor> {
        mode.dropout(&Tensor::cat(&[class_state(text)?, class_state(vision)?], 1)?, self.dropout)
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

    /// What the text alone says in LMC's released code, `hᵗ (Wᵗᵀ + b/2)`, `[B, L]`: a bracket in the wrong place. It is
    /// here so that the rest can be compared with tensors of that code; no method trains with it.
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn bracketed_text_scores(&self, features: &Tensor) -> Result<Tensor> {
        self.classifier.bracketed_text_scores(features)
    }
}

/// Variables `emission`, `crf`.
pub struct JointEntityHead {
    emission: JointLinear,
    crf: Crf,
    dropout: f64,
}

impl JointEntityHead {
    /// A head over `tags` tags.
    ///
    /// # Errors
    /// Stored tensors of other shapes.
    pub fn new(sizes: StreamSizes, tags: usize, dropout: f64, vb: VarBuilder<'_>) -> Result<Self> {
        let emission = JointLinear::new(sizes, tags, &vb.pp("emission"))?;
        Ok(Self { emission, crf: Crf::new(tags, vb.pp("crf"))?, dropout })
    }

    /// Returns `[B, W, H + Hv]` from the states `[B, W, H]` of the words' first pieces, `vision` `[B, V, Hv]`, the text's
    /// position embeddings `[P, H]` and the positions `[B, W]` u32 of these pieces (`anchors`). Where the streams differ in width, which only
    /// streams without shared keys may (`concat`), position embeddings cannot be added to a vision state and are left
    /// out: every word then reads the same one.
    ///
    /// # Errors
    /// Shapes that do not fit, an anchor beyond `P`.
    pub fn features(
        &self,
        [words, vision, positions]: [&Tensor; 3],
        anchors: &Tensor,
        mode: &mut Mode<'_>,
    ) -> Result<Tensor> {
        let (rows, count) = anchors.dims2()?;
        let class = vision.narrow(1, 0, 1)?;
        let size = class.dim(2)?;
        let seen = if positions.dim(1)? == size {
            let positions = positions.index_select(&anchors.flatten_all()?, 0)?.reshape((rows, count, size))?;
            positions.broadcast_add(&class)?
        } else {
            class.broadcast_as((rows, count, size))?.contiguous()?
        };
        mode.dropout(&Tensor::cat(&[words, &seen], 2)?, self.dropout)
    }

    /// Emissions `[B, W, L]` of features `[B, W, H + Hv]`.
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn emissions(&self, features: &Tensor) -> Result<Tensor> {
        self.emission.linear.forward(features)
    }

    /// What each stream alone says: `Wᵗ hᵗ + b/2` and `Wᵛ hᵛ + b/2`, `[B, W, L]` each; their sum is the emissions.
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn stream_scores(&self, features: &Tensor) -> Result<(Tensor, Tensor)> {
        self.emission.stream_scores(features)
    }

    /// The transition scores.
    pub fn crf(&self) -> &Crf {
        &self.crf
    }
}
