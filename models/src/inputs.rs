//! What networks read: word pieces, pixels, and the words for them that settings use.

use candle_core::{DType, Result, Tensor};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ops::Ids;

/// Crops of a kind that a row shows; absent ones are zero images.
pub const CROPS: usize = 3;
/// Side of a grounding crop, in pixels.
pub const GROUNDING_SIDE: usize = 128;
/// Side of a detector crop, in pixels.
pub const DETECTED_SIDE: usize = 64;

/// One of the two streams of a multimodal network: the encoder of a modality, from its input to the head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// The text, encoded by BERT.
    Text,
    /// The pictures, encoded by CLIP.
    Vision,
}

/// What the vision stream sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Visual {
    /// The image: class token + `(S / patch)²` patches, with the pre-trained positions.
    Image,
    /// Crops, as MKGformer and LMC have them: class token + 3 grounding crops + 3 detector crops (3·16 + 3·4 patches of
    /// 32 pixels). Patches have positions of their own; the class token has none.
    Crops,
}

/// Normalised pixels of a batch, f32.
#[derive(Debug, Clone)]
pub enum Pixels {
    /// Whole images, `[B, 3, S, S]`.
    Image(Tensor),
    /// Crops; absent ones are zero images.
    Crops {
        /// Crops of phrase grounding, `[B, 3, 3, 128, 128]`: rows, crops, channels, height, width.
        grounding: Tensor,
        /// Crops of object detection, `[B, 3, 3, 64, 64]`.
        detected: Tensor,
    },
}

/// A batch of `B` rows.
pub struct Inputs<'a> {
    /// Ids of the word pieces, `[B, T]`.
    pub ids: &'a Ids,
    /// 1 on real pieces and 0 on padding, `[B, T]`, u32.
    pub mask: &'a Tensor,
    /// Pixels, which a network with a vision stream needs.
    pub pixels: Option<&'a Pixels>,
    /// Number type of states and products. Weights stay in f32, and so does what the network returns.
    pub dtype: DType,
}

impl Inputs<'_> {
    /// Returns the pixels, for a network that needs them.
    ///
    /// # Errors
    /// The batch has no pixels.
    pub(crate) fn pixels(&self) -> Result<&Pixels> {
        self.pixels.ok_or_else(|| candle_core::Error::Msg("this network needs pixels, but got none".to_owned()))
    }

    /// Returns what is added to attention logits, `[B, 1, 1, T]`: 0 on real pieces and a large negative number on
    /// padding, so that its softmax weight underflows to exactly 0.
    pub(crate) fn padding(&self) -> Result<Tensor> {
        ((self.mask.to_dtype(DType::F32)? - 1.0)? * 1e9)?.unsqueeze(1)?.unsqueeze(1)
    }
}
