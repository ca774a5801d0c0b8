//! CLIP's vision transformer (Radford et al. 2021), trainable, with the weight names of Hugging Face `CLIPVisionModel`
//! below `vision_model.`.
//!
//! Pre-norm encoder: class token and patches + positions → layer norm, then per layer `x = x + attention(norm(x))`,
//! `x = x + W₂ act(W₁ norm(x))`. CLIP itself reads the class state after `post_layernorm`. LMC's heads read it as the
//! layers leave it, so an encoder made for them has no such norm.

mod config;
mod embeddings;

use candle_core::{DType, Result, Tensor};
use candle_nn::VarBuilder;

use super::attention::Attention;
use super::layer::{Layer, check_layers};
use super::output::StreamOutput;
use crate::init::normal_linear;
use crate::inputs::{Pixels, Visual};
use crate::mode::Mode;
use crate::ops::{Activation, Keys, LayerNorm, Order, Residual, SharedKey};
pub use config::ClipVisionConfig;
use embeddings::PatchEmbeddings;

/// Creates a layer whose attention logits are read if `reads_logits`. Fresh weights start as in
/// `CLIPPreTrainedModel._init_weights`. With a shared key, there is no key projection.
fn layer(
    config: &ClipVisionConfig,
    shared: Option<SharedKey>,
    reads_logits: bool,
    vb: &VarBuilder<'_>,
) -> Result<Layer> {
    let size = config.hidden_size;
    let width = config.intermediate_size;
    let outwards = config.initializer_factor * (size as f64).sqrt().recip();
    let inwards = outwards * ((2 * config.num_hidden_layers) as f64).sqrt().recip();
    let attention = vb.pp("self_attn");
    let inner = |name| normal_linear(size, size, inwards, attention.pp(name));
    let end = |output, norm| {
        let norm = LayerNorm::new(size, config.layer_norm_eps, vb.pp(norm))?;
        Ok::<_, candle_core::Error>(Residual { output, norm, order: Order::Before })
    };
    let keys = match shared {
        Some(shared) => Keys::Shared(shared),
        None => Keys::Projected(inner("k_proj")?),
    };
    Ok(Layer {
        attention: Attention {
            query: inner("q_proj")?,
            keys,
            value: inner("v_proj")?,
            heads: config.num_attention_heads,
            map_dropout: config.attention_dropout,
        },
        attention_end: end(normal_linear(size, size, outwards, attention.pp("out_proj"))?, "layer_norm1")?,
        up: normal_linear(size, width, outwards / 2f64.sqrt(), vb.pp("mlp.fc1"))?,
        activation: Activation::named(&config.hidden_act)?,
        end: end(normal_linear(width, size, inwards, vb.pp("mlp.fc2"))?, "layer_norm2")?,
        dropout: 0.0,
        reads_logits,
    })
}

/// CLIP's vision transformer, with `post_layernorm` or without.
pub struct ClipVision {
    embeddings: PatchEmbeddings,
    pre_norm: LayerNorm,
    pub(crate) layers: Vec<Layer>,
    /// Absent in an encoder whose last states are read as the layers leave them.
    post_norm: Option<LayerNorm>,
}

fn norm(config: &ClipVisionConfig, name: &str, vb: &VarBuilder<'_>) -> Result<LayerNorm> {
    LayerNorm::new(config.hidden_size, config.layer_norm_eps, vb.pp("vision_model").pp(name))
}

impl ClipVision {
    /// Creates an encoder with the variables `vision_model.*` and, for crops, `vision.crop_positions.weight`.
    ///
    /// # Errors
    /// No CLIP can have this configuration, or stored tensors have other shapes.
    pub fn new(config: &ClipVisionConfig, visual: Visual, vb: VarBuilder<'_>) -> Result<Self> {
        let post_norm = Some(norm(config, "post_layernorm", &vb)?);
        Ok(Self { post_norm, ..Self::with_keys(config, visual, &[], 0, vb)? })
    }

    /// Creates an encoder without `post_layernorm`, whose last layers use the keys `shared`, and which returns the
    /// logits of its last `mapped` layers.
    pub(crate) fn with_keys(
        config: &ClipVisionConfig,
        visual: Visual,
        shared: &[SharedKey],
        mapped: usize,
        vb: VarBuilder<'_>,
    ) -> Result<Self> {
        let size = config.hidden_size;
        let heads = config.num_attention_heads;
        if heads == 0 || !size.is_multiple_of(heads) {
            candle_core::bail!("config.json: hidden_size {size} is not a multiple of num_attention_heads {heads}");
        }
        let model = vb.pp("vision_model");
        let layers = config.num_hidden_layers;
        check_layers(layers)?;
        let key = |n: usize| n.checked_sub(layers - shared.len()).map(|n| shared[n].clone());
        let layer = |n: usize| layer(config, key(n), n + mapped >= layers, &model.pp(format!("encoder.layers.{n}")));
        Ok(Self {
            embeddings: PatchEmbeddings::new(config, visual, &vb)?,
            pre_norm: norm(config, "pre_layrnorm", &vb)?,
            layers: (0..layers).map(layer).collect::<Result<_>>()?,
            post_norm: None,
        })
    }

    /// Returns the input of the first layer, `[B, V, H]`.
    pub(crate) fn embed(&self, pixels: &Pixels, dtype: DType) -> Result<Tensor> {
        self.pre_norm.forward(&self.embeddings.forward(pixels, dtype)?)?.to_dtype(dtype)
    }

    /// Applies `post_layernorm` to states `[B, V, H]`. Hugging Face applies it to the class token alone
    /// (`pooler_output`).
    ///
    /// # Errors
    /// The last dimension is not `H`, or the encoder belongs to a network of two streams and has no such norm.
    pub fn post_norm(&self, states: &Tensor) -> Result<Tensor> {
        let Some(norm) = &self.post_norm else { candle_core::bail!("this encoder has no post_layernorm") };
        norm.forward(states)
    }

    /// Encodes pixels in f32. Returns states before `post_layernorm` and attention of every layer.
    ///
    /// # Errors
    /// The pixels have another layout or size.
    pub fn forward(&self, pixels: &Pixels, mode: &mut Mode<'_>) -> Result<StreamOutput> {
        self.encode(pixels, DType::F32, false, mode)
    }

    /// Encodes pixels in the number type `dtype`. With `class_alone`, the last layer gives the state of the class token
    /// alone, `[B, 1, H]`.
    pub(crate) fn encode(
        &self,
        pixels: &Pixels,
        dtype: DType,
        class_alone: bool,
        mode: &mut Mode<'_>,
    ) -> Result<StreamOutput> {
        let mut output = StreamOutput::new(self.embed(pixels, dtype)?);
        let rows = output.last().dim(0)?;
        let class = class_alone.then(|| Tensor::zeros((rows, 1), DType::U32, output.last().device())).transpose()?;
        for (n, layer) in self.layers.iter().enumerate() {
            let read = class.as_ref().filter(|_| n + 1 == self.layers.len());
            let (states, readout) = layer.forward(output.last(), None, None, read, mode)?;
            output.push(states, readout);
        }
        Ok(output)
    }
}
