//! The networks that methods train, without their heads, behind one call.

mod dual;
mod encoded;
mod mkgformer;

use candle_core::Result;

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
        let encoded = match self {
            Self::Text(bert) => {
                let text = bert.encode(inputs, mode)?.last().clone();
                Encoded { text, vision: None, positions: None, text_maps: Vec::new(), vision_maps: Vec::new() }
            }
            Self::Dual(dual) => dual.forward(inputs, mode)?,
            Self::Mkgformer(mkgformer) => mkgformer.forward(inputs, mode)?,
        };
        encoded.to_f32()
    }
}
