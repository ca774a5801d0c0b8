//! The networks that methods train, behind one call.

use candle_core::{DType, Result, Tensor};

use crate::bert::Bert;
use crate::dual::Dual;
use crate::mkgformer::Mkgformer;
use crate::mode::Mode;
use crate::ops::Ids;

/// Normalised pixels, f32.
#[derive(Debug, Clone)]
pub enum Pixels {
    /// Whole images, `[B, 3, S, S]`.
    Image(Tensor),
    /// Crops; absent ones are zero images.
    Crops {
        /// Of phrase grounding, `[B, 3, 3, 128, 128]`: rows, crops, channels, height, width.
        grounding: Tensor,
        /// Of object detection, `[B, 3, 3, 64, 64]`.
        detected: Tensor,
    },
}

/// A batch.
pub struct Inputs<'a> {
    /// Word pieces `[B, T]`.
    pub ids: &'a Ids,
    /// 1 on real pieces, 0 on padding, `[B, T]`, u32.
    pub mask: &'a Tensor,
    /// What a network with a vision stream sees.
    pub pixels: Option<&'a Pixels>,
    /// Number type of states and products; weights stay in f32. What comes out is f32 again.
    pub dtype: DType,
}

impl Inputs<'_> {
    pub(crate) fn pixels(&self) -> Result<&Pixels> {
        self.pixels.ok_or_else(|| candle_core::Error::Msg("this network needs pixels, but got none".to_owned()))
    }
}

/// States for the heads, attention logits for distillation.
pub struct Encoded {
    /// Last states of the text, `[B, T, H]`, or `[B, A, H]` of [`Network::read`].
    pub text: Tensor,
    /// Last states of the vision stream, class token first, as the layers leave them, `[B, V, Hv]`.
    pub vision: Option<Tensor>,
    /// The text's own position embeddings, `[P, H]`: the variable itself, which LMC's entity head reads once more.
    pub positions: Option<Tensor>,
    /// Attention logits of the last `shared_layers` layers of [`Dual`]: before softmax, with the position bias, without
    /// padding, `[B, heads, T, T]`.
    pub text_maps: Vec<Tensor>,
    /// The same of the vision stream, `[B, heads, V, V]`.
    pub vision_maps: Vec<Tensor>,
}

impl Encoded {
    fn to_f32(&self) -> Result<Self> {
        let wide = |tensor: &Tensor| tensor.to_dtype(DType::F32);
        let all = |tensors: &[Tensor]| tensors.iter().map(wide).collect::<Result<Vec<_>>>();
        let (text_maps, vision_maps) = (all(&self.text_maps)?, all(&self.vision_maps)?);
        Ok(Self {
            text: wide(&self.text)?,
            vision: self.vision.as_ref().map(wide).transpose()?,
            positions: self.positions.clone(),
            text_maps,
            vision_maps,
        })
    }
}

/// A network without its head.
pub enum Network {
    /// Text alone.
    Text(Bert),
    /// Two streams that may share keys.
    Dual(Dual),
    /// Two streams that interact.
    Mkgformer(Mkgformer),
}

impl Network {
    /// Encodes a batch.
    ///
    /// # Errors
    /// An id outside the vocabulary, a sequence longer than the positions, missing pixels or pixels of another layout.
    pub fn forward(&self, inputs: &Inputs<'_>, mode: &mut Mode<'_>) -> Result<Encoded> {
        self.encode(inputs, None, mode)
    }

    /// Encodes a batch for a head that reads the text at `positions` `[B, A]` u32 alone: `Encoded::text` is `[B, A, H]`, and
    /// `Encoded::vision` of streams side by side the class token's state `[B, 1, Hv]`. The last layer's feed-forward part
    /// computes no other states, which saves a tenth of a step of a six-layer encoder.
    ///
    /// # Errors
    /// As [`Network::forward`]; a position beyond the text.
    pub fn read(&self, inputs: &Inputs<'_>, positions: &Tensor, mode: &mut Mode<'_>) -> Result<Encoded> {
        self.encode(inputs, Some(positions), mode)
    }

    fn encode(&self, inputs: &Inputs<'_>, read: Option<&Tensor>, mode: &mut Mode<'_>) -> Result<Encoded> {
        let encoded = match self {
            Self::Text(bert) => {
                let text = bert.encode(inputs, read, mode)?.last().clone();
                Encoded { text, vision: None, positions: None, text_maps: Vec::new(), vision_maps: Vec::new() }
            }
            Self::Dual(dual) => dual.encode(inputs, read, mode)?,
            Self::Mkgformer(mkgformer) => mkgformer.encode(inputs, read, mode)?,
        };
        encoded.to_f32()
    }
}
