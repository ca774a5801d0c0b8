//! The networks that methods train, without their heads, behind one call.

mod dual;
mod encoded;
mod mkgformer;

use candle_core::{Result, Tensor};

use crate::encoders::Bert;
use crate::inputs::Inputs;
use crate::mode::Mode;

pub use dual::{Dual, DualConfig, Key};
pub use encoded::Encoded;
pub use mkgformer::{Mkgformer, MkgformerConfig};

/// A network without its head.
pub enum Network {
    /// An encoder of the text alone.
    Text(Bert),
    /// Two streams side by side, which may share keys.
    Dual(Dual),
    /// Two streams that interact in their upper layers.
    Mkgformer(Mkgformer),
}

impl Network {
    /// Encodes a batch, in f32 whatever type the states have.
    ///
    /// # Errors
    /// An id is outside the vocabulary, a sequence is longer than the positions, or pixels are missing or have another
    /// layout.
    pub fn forward(&self, inputs: &Inputs<'_>, mode: &mut Mode<'_>) -> Result<Encoded> {
        self.encode(inputs, None, mode)
    }

    /// Encodes a batch for a head that reads the text at `positions` `[B, A]` u32 alone: `Encoded::text` is `[B, A, H]`,
    /// and `Encoded::vision` of streams side by side is the class token's state `[B, 1, Hv]`. The feed-forward part of the
    /// last layer, which has two thirds of its weights, computes no other states.
    ///
    /// # Errors
    /// A position is beyond the text, or [`Network::forward`] fails.
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
