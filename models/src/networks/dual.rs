//! Two streams side by side, text (BERT) and vision (CLIP): the network of LMC (arXiv 2305.08698).
//!
//! In the last `shared_layers` layers of each stream, learned keys that both streams share replace the projected ones,
//! and each stream adds its own position bias B: `A = Q Kᵀ/√d + B`. Without shared layers, the streams do not meet
//! before the head (late fusion). The head reads the vision states as the layers leave them, as in LMC's released code:
//! there is no `post_layernorm`, and its weights in a pre-trained file are not used.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::encoded::Encoded;
use crate::encoders::{Bert, BertConfig, ClipVision, ClipVisionConfig};
use crate::init::xavier_uniform;
use crate::inputs::{Inputs, Visual};
use crate::mode::Mode;
use crate::ops::SharedKey;

/// Keys of the shared layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Key {
    /// Projected, as in ordinary layers; nothing is shared.
    Own,
    /// A key for each position, `[heads, N, d]`, N the longer of both streams; a stream of length L uses the first L.
    Matrix,
    /// One key for every position, `[heads, d]`: `q·k` is then the same for all keys and cancels in the softmax.
    Vector,
    /// What LMC's published code computes: `Vector`, with text logits `(q·k + B)/√d`.
    Released,
}

/// The shape of a [`Dual`].
#[derive(Debug, Clone)]
pub struct DualConfig {
    /// Shape of the text stream.
    pub text: BertConfig,
    /// Shape of the vision stream.
    pub vision: ClipVisionConfig,
    /// What the vision stream sees.
    pub visual: Visual,
    /// Layers at the end of each stream whose keys are shared and whose attention logits are returned.
    pub shared_layers: usize,
    /// Where those layers take their keys from.
    pub key: Key,
    /// Longest text, in word pieces.
    pub max_text: usize,
}

impl DualConfig {
    fn check(&self) -> Result<()> {
        let text = &self.text;
        let vision = &self.vision;
        let shared = self.shared_layers;
        let layers = text.num_hidden_layers.min(vision.num_hidden_layers);
        if shared > layers {
            // All layers may share, which is an ablation that LMC's released code names.
            let quarter = (layers / 4).max(1);
            candle_core::bail!(
                "shared_layers is {shared}, but a stream has only {layers} layers: lower it (LMC shares 3 of 12, so \
                 {quarter} here), or take deeper encoders"
            );
        }
        let sizes = [
            ("num_attention_heads", text.num_attention_heads, vision.num_attention_heads),
            ("hidden_size", text.hidden_size, vision.hidden_size),
        ];
        match sizes.into_iter().find(|(_, text, vision)| text != vision) {
            Some((name, text, vision)) if self.key != Key::Own && shared > 0 => {
                candle_core::bail!("streams that share keys need the same {name}; text has {text}, vision {vision}")
            }
            _ => Ok(()),
        }
    }

    /// Creates the keys of text and vision for the last layers, with the variables `shared.key.N`,
    /// `text.position_bias.N` (N is the layer of the text) and `vision.position_bias.N` (N is the layer of the vision
    /// stream).
    fn shared_keys(&self, vb: &VarBuilder<'_>) -> Result<(Vec<SharedKey>, Vec<SharedKey>)> {
        let heads = self.text.num_attention_heads;
        let long = self.max_text;
        let tokens = self.vision.tokens(self.visual)?;
        let shape = match self.key {
            Key::Own => return Ok((Vec::new(), Vec::new())),
            Key::Matrix => vec![heads, long.max(tokens), self.text.hidden_size / heads],
            Key::Vector | Key::Released => vec![heads, self.text.hidden_size / heads],
        };
        let variable = |name: String, shape: &[usize]| vb.get_with_hints(shape, &name, xavier_uniform(shape));
        let bias = |stream: &str, layer: usize, length: usize| {
            variable(format!("{stream}.position_bias.{layer}"), &[heads, length, length])
        };
        let scale = if self.key == Key::Released { (shape[shape.len() - 1] as f64).sqrt().recip() } else { 1.0 };
        let keys = (1..=self.shared_layers).rev().map(|from_end| {
            let text = self.text.num_hidden_layers - from_end;
            let vision = self.vision.num_hidden_layers - from_end;
            let key = variable(format!("shared.key.{text}"), &shape)?;
            Ok((
                SharedKey { key: key.clone(), bias: bias("text", text, long)?, bias_scale: scale },
                SharedKey { key, bias: bias("vision", vision, tokens)?, bias_scale: 1.0 },
            ))
        });
        Ok(keys.collect::<Result<Vec<_>>>()?.into_iter().unzip())
    }
}

/// A network of two streams side by side.
pub struct Dual {
    text: Bert,
    vision: ClipVision,
    mapped: usize,
}

impl Dual {
    /// Creates the variables of [`Bert`] and [`ClipVision`], without the key projections of layers with shared keys,
    /// and those of the shared layers (`shared.key.N`, `text.position_bias.N`, `vision.position_bias.N`).
    ///
    /// # Errors
    /// The streams cannot be combined, or stored tensors have other shapes.
    pub fn new(config: &DualConfig, vb: VarBuilder<'_>) -> Result<Self> {
        config.check()?;
        let (text, vision) = config.shared_keys(&vb)?;
        Ok(Self {
            text: Bert::with_keys(&config.text, &text, config.shared_layers, vb.clone())?,
            vision: ClipVision::with_keys(&config.vision, config.visual, &vision, config.shared_layers, vb)?,
            mapped: config.shared_layers,
        })
    }

    /// Encodes the text and the pixels of a batch.
    ///
    /// # Errors
    /// An id is outside the vocabulary, a sequence is longer than the positions or, with shared keys, than `max_text`,
    /// or pixels are missing or have another layout.
    pub fn forward(&self, inputs: &Inputs<'_>, mode: &mut Mode<'_>) -> Result<Encoded> {
        self.encode(inputs, None, mode)
    }

    /// Encodes a batch, for a head that reads the positions `read` alone if there are some.
    pub(crate) fn encode(&self, inputs: &Inputs<'_>, read: Option<&Tensor>, mode: &mut Mode<'_>) -> Result<Encoded> {
        let text = self.text.encode(inputs, read, mode)?;
        let vision = self.vision.encode(inputs.pixels()?, inputs.dtype, read.is_some(), mode)?;
        Ok(Encoded {
            text: text.last().clone(),
            vision: Some(vision.last().clone()),
            positions: Some(self.text.embeddings.position.clone()),
            text_maps: text.into_last_logits(self.mapped),
            vision_maps: vision.into_last_logits(self.mapped),
        })
    }
}
