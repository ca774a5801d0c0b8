//! The shape of CLIP's vision transformer, as Hugging Face stores it.

use candle_core::Result;
use serde::{Deserialize, Serialize};

use crate::inputs::{CROPS, DETECTED_SIDE, GROUNDING_SIDE, Visual};

/// `config.json` of a Hugging Face `CLIPVisionModel`, or `vision_config` in that of a `CLIPModel`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
pub struct ClipVisionConfig {
    /// Size of the states, `H`.
    pub hidden_size: usize,
    /// Width of the feed-forward part.
    pub intermediate_size: usize,
    /// Number of encoder layers, e.g. 12 in `openai/clip-vit-base-patch32`.
    pub num_hidden_layers: usize,
    /// Number of attention heads, which divides `H`.
    pub num_attention_heads: usize,
    /// Number of colour channels of the image, 3 for RGB.
    pub num_channels: usize,
    /// Side of the image in pixels, a multiple of `patch_size`.
    pub image_size: usize,
    /// Side of a patch in pixels.
    pub patch_size: usize,
    /// Activation: `quick_gelu`, or one of those of BERT.
    pub hidden_act: String,
    /// Added to variances in layer norms, ε.
    pub layer_norm_eps: f64,
    /// Dropout probability of attention maps.
    pub attention_dropout: f64,
    /// Standard deviation of fresh patch and position weights.
    pub initializer_range: f64,
    /// Factor of the standard deviations of all fresh weights.
    pub initializer_factor: f64,
}

impl Default for ClipVisionConfig {
    /// Returns the configuration of `openai/clip-vit-base-patch32`, whose values stand in for keys that a `config.json`
    /// lacks.
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
    /// Returns the number of visual tokens `V`: the class token and the patches.
    ///
    /// # Errors
    /// Patches do not tile the image or a crop.
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
