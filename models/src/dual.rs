//! Two streams side by side, text (BERT) and vision (CLIP): the network of LMC (arXiv 2305.08698).
//!
//! In the last `shared_layers` layers of each stream, learned keys that both streams share replace the projected ones,
//! and each stream adds its own position bias B: `A = Q Kᵀ/√d + B`. Without shared layers the streams never meet before
//! the head (late fusion). The vision states go to the head as the layers leave them, as in LMC's released code: there is
//! no `post_layernorm`, and its weights in a pre-trained file are not used.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::bert::{Bert, BertConfig};
use crate::clip::{ClipVision, ClipVisionConfig, Visual};
use crate::init::xavier_uniform;
use crate::mode::Mode;
use crate::network::{Encoded, Inputs};
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

/// Shape of a [`Dual`].
#[derive(Debug, Clone)]
pub struct DualConfig {
    /// Text stream.
    pub text: BertConfig,
    /// Vision stream.
    pub vision: ClipVisionConfig,
    /// What it sees.
    pub visual: Visual,
    /// Layers at the end of each stream whose keys are shared and whose attention logits are returned.
    pub shared_layers: usize,
    /// Their keys.
    pub key: Key,
    /// Longest text, in pieces.
    pub max_text: usize,
}

impl DualConfig {
    fn check(&self) -> Result<()> {
        let (text, vision, shared) = (&self.text, &self.vision, self.shared_layers);
        let layers = text.num_hidden_layers.min(vision.num_hidden_layers);
        if shared > layers {
            // All layers may share: an ablation that LMC's released code names.
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

    /// Keys of text and vision for the last layers. Variables `shared.key.N`, `text.position_bias.N` (N: layer of the
    /// text) and `vision.position_bias.N` (N: layer of the vision stream).
    fn shared_keys(&self, vb: &VarBuilder<'_>) -> Result<(Vec<SharedKey>, Vec<SharedKey>)> {
        let heads = self.text.num_attention_heads;
        let (long, tokens) = (self.max_text, self.vision.tokens(self.visual)?);
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
        let (text_layers, vision_layers) = (self.text.num_hidden_layers, self.vision.num_hidden_layers);
        let keys = (1..=self.shared_layers).rev().map(|from_end| {
            let (text, vision) = (text_layers - from_end, vision_layers - from_end);
            let key = variable(format!("shared.key.{text}"), &shape)?;
            Ok((
                SharedKey { key: key.clone(), bias: bias("text", text, long)?, bias_scale: scale },
                SharedKey { key, bias: bias("vision", vision, tokens)?, bias_scale: 1.0 },
            ))
        });
        Ok(keys.collect::<Result<Vec<_>>>()?.into_iter().unzip())
    }
}

/// The two streams.
pub struct Dual {
    text: Bert,
    vision: ClipVision,
    mapped: usize,
}

impl Dual {
    /// Variables of [`Bert`] and [`ClipVision`], without the key projections of layers with shared keys, and those of
    /// the shared layers (`shared.key.N`, `text.position_bias.N`, `vision.position_bias.N`).
    ///
    /// # Errors
    /// Streams that do not fit together, or stored tensors of other shapes.
    pub fn new(config: &DualConfig, vb: VarBuilder<'_>) -> Result<Self> {
        config.check()?;
        let (text, vision) = config.shared_keys(&vb)?;
        Ok(Self {
            text: Bert::with_keys(&config.text, &text, config.shared_layers, vb.clone())?,
            vision: ClipVision::with_keys(&config.vision, config.visual, &vision, config.shared_layers, vb)?,
            mapped: config.shared_layers,
        })
    }

    /// Encodes a batch.
    ///
    /// # Errors
    /// As [`crate::network::Network::forward`]; with shared keys, a text longer than `max_text`.
    pub fn forward(&self, inputs: &Inputs<'_>, mode: &mut Mode<'_>) -> Result<Encoded> {
        self.encode(inputs, None, mode)
    }

    /// Encodes a batch, for a head that reads the positions `read` alone if there are some.
    pub(crate) fn encode(
        &self,
        inputs: &Inputs<'_>,
        read: Option<&Tensor>,
        mode: &mut Mode<'_>,
    ) -> Result<Encoded> {
        let text = self.text.encode(inputs, read, mode)?;
        let vision = self.vision.encode((inputs.pixels()?, inputs.dtype), read.is_some(), mode)?;
        Ok(Encoded {
            text: text.last().clone(),
            vision: Some(vision.last().clone()),
            positions: Some(self.text.embeddings.position.clone()),
            text_maps: text.into_last_logits(self.mapped),
            vision_maps: vision.into_last_logits(self.mapped),
        })
    }
}
