//! CLIP's vision transformer (Radford et al. 2021), trainable, with the weight names of Hugging Face `CLIPVisionModel`
//! below `vision_model.`.
//!
//! Pre-norm encoder: class token and patches + positions → layer norm, then per layer `x = x + attention(norm(x))`,
//! `x = x + W₂ act(W₁ norm(x))`. CLIP's own readers take the class state after `post_layernorm`; LMC's heads take it as
//! the layers leave it, so a tower made for them has no such norm.

mod embeddings;

use candle_core::{DType, Result, Tensor};
use candle_nn::VarBuilder;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::activation::Activation;
use crate::attention::Attention;
use crate::init::linear;
use crate::layer::Layer;
use crate::mode::Mode;
use crate::network::Pixels;
use crate::norm::LayerNorm;
use crate::ops::{Keys, Order, Residual, SharedKey};
use crate::stream::StreamOutput;
use embeddings::Embeddings;

/// `config.json` of a Hugging Face `CLIPVisionModel`, or `vision_config` in that of a `CLIPModel`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
pub struct ClipVisionConfig {
    /// `H`.
    pub hidden_size: usize,
    /// Width of the feed-forward part.
    pub intermediate_size: usize,
    /// Encoder layers.
    pub num_hidden_layers: usize,
    /// Attention heads; divides `H`.
    pub num_attention_heads: usize,
    /// Colours.
    pub num_channels: usize,
    /// Pixels of a side of the image; a multiple of `patch_size`.
    pub image_size: usize,
    /// Pixels of a side of a patch.
    pub patch_size: usize,
    /// Activation: `quick_gelu`, or one of those of BERT.
    pub hidden_act: String,
    /// Added to variances.
    pub layer_norm_eps: f64,
    /// Dropout of attention maps.
    pub attention_dropout: f64,
    /// Standard deviation of fresh patch and position weights.
    pub initializer_range: f64,
    /// Factor of the standard deviations of all fresh weights.
    pub initializer_factor: f64,
}

impl Default for ClipVisionConfig {
    /// `openai/clip-vit-base-patch32`.
    fn default() -> Self {
        Self {
            hidden_size: 768,
            intermediate_size: 3072,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            num_channels: 3,
            image_size: 224,
            patch_size: 32,
            hidden_act: "quick_gelu".to_owned(),
            layer_norm_eps: 1e-5,
            attention_dropout: 0.0,
            initializer_range: 0.02,
            initializer_factor: 1.0,
        }
    }
}

impl ClipVisionConfig {
    /// Visual tokens `V`: the class token and the patches.
    ///
    /// # Errors
    /// An image or a crop that patches do not tile.
    pub fn tokens(&self, visual: Visual) -> Result<usize> {
        let patches = |side: usize| {
            if self.patch_size == 0 || !side.is_multiple_of(self.patch_size) {
                candle_core::bail!("config.json: patches of {} pixels do not tile {side} pixels", self.patch_size);
            }
            Ok((side / self.patch_size).pow(2))
        };
        Ok(1 + match visual {
            Visual::Image => patches(self.image_size)?,
            Visual::Crops => CROPS * (patches(GROUNDING_SIDE)? + patches(DETECTED_SIDE)?),
        })
    }
}

/// Crops of a kind that a row shows; absent ones are zero images.
pub const CROPS: usize = 3;
/// Pixels of a side of a grounding crop.
pub const GROUNDING_SIDE: usize = 128;
/// Pixels of a side of a detector crop.
pub const DETECTED_SIDE: usize = 64;

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

/// A layer whose maps are read if `maps`. Fresh weights start as in `CLIPPreTrainedModel._init_weights`; with a shared
/// key, there is no key projection.
fn layer(config: &ClipVisionConfig, shared: Option<SharedKey>, maps: bool, vb: &VarBuilder<'_>) -> Result<Layer> {
    let (size, width) = (config.hidden_size, config.intermediate_size);
    let outwards = config.initializer_factor * (size as f64).sqrt().recip();
    let inwards = outwards * ((2 * config.num_hidden_layers) as f64).sqrt().recip();
    let attention = vb.pp("self_attn");
    let inner = |name| linear(size, size, inwards, attention.pp(name));
    let end = |output, norm| {
        let norm = LayerNorm::new(size, config.layer_norm_eps, vb.pp(norm))?;
        Ok::<_, candle_core::Error>(Residual { output, norm, order: Order::Before })
    };
    let keys = match shared {
        Some(shared) => Keys::Shared(shared),
        None => Keys::Own(inner("k_proj")?),
    };
    Ok(Layer {
        attention: Attention {
            query: inner("q_proj")?,
            keys,
            value: inner("v_proj")?,
            heads: config.num_attention_heads,
            map_dropout: config.attention_dropout,
        },
        attention_end: end(linear(size, size, outwards, attention.pp("out_proj"))?, "layer_norm1")?,
        up: linear(size, width, outwards / 2f64.sqrt(), vb.pp("mlp.fc1"))?,
        activation: Activation::named(&config.hidden_act)?,
        end: end(linear(width, size, inwards, vb.pp("mlp.fc2"))?, "layer_norm2")?,
        dropout: 0.0,
        maps,
    })
}

/// The encoder.
pub struct ClipVision {
    embeddings: Embeddings,
    pre_norm: LayerNorm,
    pub(crate) layers: Vec<Layer>,
    /// None in a tower whose last states are read as they are.
    post_norm: Option<LayerNorm>,
}

fn norm(config: &ClipVisionConfig, name: &str, vb: &VarBuilder<'_>) -> Result<LayerNorm> {
    LayerNorm::new(config.hidden_size, config.layer_norm_eps, vb.pp("vision_model").pp(name))
}

impl ClipVision {
    /// Variables `vision_model.*` and, for crops, `vision.crop_positions.weight`.
    ///
    /// # Errors
    /// A configuration that no CLIP can have, or stored tensors of other shapes.
    pub fn new(config: &ClipVisionConfig, visual: Visual, vb: VarBuilder<'_>) -> Result<Self> {
        let post_norm = Some(norm(config, "post_layernorm", &vb)?);
        Ok(Self { post_norm, ..Self::with_keys(config, visual, &[], 0, vb)? })
    }

    /// A tower without `post_layernorm`. The last layers use these keys, if any; the logits of the last `mapped` layers
    /// are read.
    pub(crate) fn with_keys(
        config: &ClipVisionConfig,
        visual: Visual,
        shared: &[SharedKey],
        mapped: usize,
        vb: VarBuilder<'_>,
    ) -> Result<Self> {
        let (size, heads) = (config.hidden_size, config.num_attention_heads);
        if heads == 0 || !size.is_multiple_of(heads) {
            candle_core::bail!("config.json: hidden_size {size} is not a multiple of num_attention_heads {heads}");
        }
        let own = vb.pp("vision_model");
        let layers = config.num_hidden_layers;
        if layers == 0 {
            candle_core::bail!("config.json: num_hidden_layers is 0, but an encoder needs at least one layer");
        }
        let key = |n: usize| n.checked_sub(layers - shared.len()).map(|n| shared[n].clone());
        let layer = |n: usize| layer(config, key(n), n + mapped >= layers, &own.pp(format!("encoder.layers.{n}")));
        Ok(Self {
            embeddings: Embeddings::new(config, visual, &vb)?,
            pre_norm: norm(config, "pre_layrnorm", &vb)?,
            layers: (0..layers).map(layer).collect::<Result<_>>()?,
            post_norm: None,
        })
    }

    /// Input of the first layer, `[B, V, H]`.
    pub(crate) fn embed(&self, pixels: &Pixels, dtype: DType) -> Result<Tensor> {
        self.pre_norm.forward(&self.embeddings.forward(pixels, dtype)?)?.to_dtype(dtype)
    }

    /// `post_layernorm`, `[B, V, H]` to `[B, V, H]`. Hugging Face applies it to the class token alone (`pooler_output`).
    ///
    /// # Errors
    /// A last dimension other than `H`; a tower of [`crate::dual::Dual`], which has no such norm.
    pub fn post_norm(&self, states: &Tensor) -> Result<Tensor> {
        let Some(norm) = &self.post_norm else { candle_core::bail!("this tower has no post_layernorm") };
        norm.forward(states)
    }

    /// States before `post_layernorm` and attention of every layer, in f32.
    ///
    /// # Errors
    /// Pixels of another layout or size.
    pub fn forward(&self, pixels: &Pixels, mode: &mut Mode<'_>) -> Result<StreamOutput> {
        self.encode((pixels, DType::F32), false, mode)
    }

    /// Encodes pixels; the last layer gives the state of the class token alone, `[B, 1, H]`, if `class_alone`.
    pub(crate) fn encode(
        &self,
        (pixels, dtype): (&Pixels, DType),
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
