//! What a network returns: states for the heads, and maps for distillation.

use candle_core::{DType, Result, Tensor};

/// States for the heads, and attention logits for distillation.
pub struct Encoded {
    /// Last states of the text, `[B, T, H]`, or `[B, A, H]` of [`super::Network::read`].
    pub text: Tensor,
    /// Last states of the vision stream, class token first, as the layers leave them, `[B, V, Hv]`.
    pub vision: Option<Tensor>,
    /// The text's own position embeddings, `[P, H]`: the variable itself, which LMC's entity head reads once more.
    pub positions: Option<Tensor>,
    /// Attention logits of the text in the last `shared_layers` layers of LMC's network: before softmax, with the
    /// position bias, without padding, `[B, heads, T, T]`.
    pub text_maps: Vec<Tensor>,
    /// Attention logits of the vision stream in those layers, `[B, heads, V, V]`.
    pub vision_maps: Vec<Tensor>,
}

impl Encoded {
    /// Returns the same states and logits in f32.
    pub(super) fn to_f32(&self) -> Result<Self> {
        let wide = |tensor: &Tensor| tensor.to_dtype(DType::F32);
        let all = |tensors: &[Tensor]| tensors.iter().map(wide).collect::<Result<Vec<_>>>();
        Ok(Self {
            text: wide(&self.text)?,
            vision: self.vision.as_ref().map(wide).transpose()?,
            positions: self.positions.clone(),
            text_maps: all(&self.text_maps)?,
            vision_maps: all(&self.vision_maps)?,
        })
    }
}
