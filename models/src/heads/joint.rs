//! Heads that read both streams, as LMC's do (arXiv 2305.08698): one linear layer W = [Wᵗ, Wᵛ] over [text ; vision].
//!
//! RE reads the class states of both. NER reads, for each word, the state of its first piece at position i and the
//! class state of the vision stream + row i of BERT's own position embeddings (the variable that the text's input uses,
//! not a copy), and scores tag sequences with a linear-chain CRF.

use candle_core::{D, Result, Tensor};
use candle_nn::VarBuilder;

use super::crf::Crf;
use super::states::class_state;
use crate::init::uniform_linear;
use crate::mode::Mode;
use crate::ops::Linear;

/// Sizes of the states of both streams.
#[derive(Debug, Clone, Copy)]
pub struct StreamSizes {
    /// Size of the text's states, `H`.
    pub text: usize,
    /// Size of the vision stream's states, `Hv`, which equals `H` wherever streams share keys.
    pub vision: usize,
}

/// The linear layer over the states of both streams.
pub(super) struct JointLinear {
    pub linear: Linear,
    sizes: StreamSizes,
}

impl JointLinear {
    pub fn new(sizes: StreamSizes, labels: usize, vb: &VarBuilder<'_>) -> Result<Self> {
        Ok(Self { linear: uniform_linear(sizes.text + sizes.vision, labels, true, vb)?, sizes })
    }

    fn half_bias(&self) -> Result<Option<Tensor>> {
        self.linear.bias().map(|bias| bias / 2.0).transpose()
    }

    /// Returns `W^u h^u + b/2` of the text and of the vision half of `features` `[.., H + Hv]`.
    pub fn stream_scores(&self, features: &Tensor) -> Result<(Tensor, Tensor)> {
        let half = |start, size| {
            let weight = self.linear.weight().narrow(1, start, size)?.contiguous()?;
            Linear::new(weight, self.half_bias()?).forward(&features.narrow(D::Minus1, start, size)?.contiguous()?)
        };
        Ok((half(0, self.sizes.text)?, half(self.sizes.text, self.sizes.vision)?))
    }

    /// Returns `hᵗ (Wᵗᵀ + b/2)`: half the bias is added to every row of the matrix, so it counts once for each state.
    fn bracketed_text_scores(&self, features: &Tensor) -> Result<Tensor> {
        let mut matrix = self.linear.weight().narrow(1, 0, self.sizes.text)?.t()?;
        if let Some(bias) = self.half_bias()? {
            matrix = matrix.broadcast_add(&bias)?;
        }
        features.narrow(D::Minus1, 0, self.sizes.text)?.contiguous()?.broadcast_matmul(&matrix.contiguous()?)
    }
}

/// A relation head on the class states of both streams, with the variables `classifier`.
pub struct JointRelationHead {
    classifier: JointLinear,
    dropout: f64,
}

impl JointRelationHead {
    /// Creates a head over `labels` labels.
    ///
    /// # Errors
    /// Stored tensors have other shapes.
    pub fn new(sizes: StreamSizes, labels: usize, dropout: f64, vb: VarBuilder<'_>) -> Result<Self> {
        Ok(Self { classifier: JointLinear::new(sizes, labels, &vb.pp("classifier"))?, dropout })
    }

    /// Returns features `[B, H + Hv]`: the class states of `text` `[B, T, H]` and `vision` `[B, V, Hv]`.
    ///
    /// # Errors
    /// The shapes do not match.
    pub fn features(&self, text: &Tensor, vision: &Tensor, mode: &mut Mode<'_>) -> Result<Tensor> {
        mode.dropout(&Tensor::cat(&[class_state(text)?, class_state(vision)?], 1)?, self.dropout)
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

    /// Returns the scores of the text alone as LMC's released code computes them, with a misplaced bracket:
    /// `hᵗ (Wᵗᵀ + b/2)`, `[B, L]`. No method trains with them; they serve the comparison with tensors of that code.
    ///
    /// # Errors
    /// The shapes do not match.
    pub fn bracketed_text_scores(&self, features: &Tensor) -> Result<Tensor> {
        self.classifier.bracketed_text_scores(features)
    }
}

/// An entity head on both streams, with the variables `emission` and `crf`.
pub struct JointEntityHead {
    emission: JointLinear,
    crf: Crf,
    dropout: f64,
}

impl JointEntityHead {
    /// Creates a head over `tags` tags.
    ///
    /// # Errors
    /// Stored tensors have other shapes.
    pub fn new(sizes: StreamSizes, tags: usize, dropout: f64, vb: VarBuilder<'_>) -> Result<Self> {
        let emission = JointLinear::new(sizes, tags, &vb.pp("emission"))?;
        Ok(Self { emission, crf: Crf::new(tags, vb.pp("crf"))?, dropout })
    }

    /// Returns features `[B, W, H + Hv]` from the states `[B, W, H]` of the words' first pieces, `vision` `[B, V, Hv]`, the
    /// text's position embeddings `[P, H]` and the positions `[B, W]` u32 of these pieces (`anchors`). If the streams differ in width,
    /// as streams without shared keys (`concat`) may, position embeddings cannot be added to a vision state and are
    /// left out, so every word reads the same vision state.
    ///
    /// # Errors
    /// The shapes do not match, or an anchor is not below `P`.
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

    /// Returns emissions `[B, W, L]` of features `[B, W, H + Hv]`.
    ///
    /// # Errors
    /// The shapes do not match.
    pub fn emissions(&self, features: &Tensor) -> Result<Tensor> {
        self.emission.linear.forward(features)
    }

    /// Returns the scores of each stream alone, `Wᵗ hᵗ + b/2` and `Wᵛ hᵛ + b/2`, `[B, W, L]` each, whose sum is the
    /// emissions.
    ///
    /// # Errors
    /// The shapes do not match.
    pub fn stream_scores(&self, features: &Tensor) -> Result<(Tensor, Tensor)> {
        self.emission.stream_scores(features)
    }

    /// Returns the random field over the emissions.
    pub fn crf(&self) -> &Crf {
        &self.crf
    }
}
