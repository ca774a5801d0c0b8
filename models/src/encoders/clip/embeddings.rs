//! Turns pixels into tokens: a class token, then patches through one linear map (a convolution whose stride is its
//! kernel), plus learned positions of every token of an image, or of every patch of crops.

use candle_core::{DType, Result, Tensor};
use candle_nn::VarBuilder;

use super::config::ClipVisionConfig;
use crate::init::normal;
use crate::inputs::{DETECTED_SIDE, GROUNDING_SIDE, Pixels, Visual};

/// Class token, patches and positions.
pub(super) struct PatchEmbeddings {
    class: Tensor,
    patch: Tensor,
    /// Positions, `[V, H]`, or `[V - 1, H]` where crops are seen, whose class token has none.
    position: Tensor,
    visual: Visual,
    image_side: usize,
}

impl PatchEmbeddings {
    /// Creates the variables below `vb`, the network's root: positions of crops are not part of CLIP.
    pub fn new(config: &ClipVisionConfig, visual: Visual, vb: &VarBuilder<'_>) -> Result<Self> {
        let size = config.hidden_size;
        let side = config.patch_size;
        let clip = vb.pp("vision_model.embeddings");
        let factor = config.initializer_factor;
        let init = normal(config.initializer_range * factor);
        let tokens = config.tokens(visual)?;
        let (position, rows, position_init) = match visual {
            Visual::Image => (clip.pp("position_embedding"), tokens, init),
            Visual::Crops => (vb.pp("vision.crop_positions"), tokens - 1, normal(0.02)),
        };
        let class = normal(factor * (size as f64).sqrt().recip());
        Ok(Self {
            class: clip.get_with_hints(size, "class_embedding", class)?,
            patch: clip.get_with_hints((size, config.num_channels, side, side), "patch_embedding.weight", init)?,
            position: position.get_with_hints((rows, size), "weight", position_init)?,
            visual,
            image_side: config.image_size,
        })
    }

    /// Returns the tokens of a batch of pixels, `[B, V, H]`.
    pub fn forward(&self, pixels: &Pixels, dtype: DType) -> Result<Tensor> {
        let patches = match (self.visual, pixels) {
            (Visual::Image, Pixels::Image(image)) => self.patches(image, self.image_side, dtype)?,
            (Visual::Crops, Pixels::Crops { grounding, detected }) => {
                let grounding = self.crops(grounding, GROUNDING_SIDE, dtype)?;
                Tensor::cat(&[grounding, self.crops(detected, DETECTED_SIDE, dtype)?], 1)?
            }
            (Visual::Image, _) => candle_core::bail!("the network sees whole images, but got crops"),
            (Visual::Crops, _) => candle_core::bail!("the network sees crops, but got whole images"),
        };
        let (rows, _, size) = patches.dims3()?;
        let class = self.class.broadcast_as((rows, 1, size))?.contiguous()?;
        match self.visual {
            Visual::Image => Tensor::cat(&[&class, &patches], 1)?.broadcast_add(&self.position),
            Visual::Crops => Tensor::cat(&[&class, &patches.broadcast_add(&self.position)?], 1),
        }
    }

    /// Maps crops `[B, crops, C, side, side]` to `[B, crops · patches, H]`.
    fn crops(&self, crops: &Tensor, side: usize, dtype: DType) -> Result<Tensor> {
        let patches = self.patches(&crops.flatten_to(1)?, side, dtype)?;
        patches.reshape((crops.dim(0)?, (), patches.dim(2)?))
    }

    /// Maps images `[N, C, side, side]` to `[N, patches, H]`, by a product of type `dtype`.
    fn patches(&self, images: &Tensor, side: usize, dtype: DType) -> Result<Tensor> {
        let (count, channels, height, width) = images.dims4()?;
        let (size, colours, patch, _) = self.patch.dims4()?;
        if (channels, height, width) != (colours, side, side) {
            candle_core::bail!(
                "an image is {height}×{width} with {channels} channels, the network needs {side}×{side} with {colours}"
            );
        }
        let n = side / patch;
        let inputs = colours * patch * patch;
        let grid = images.reshape(vec![count, channels, n, patch, n, patch])?.permute(vec![0, 2, 4, 1, 3, 5])?;
        let rows = grid.to_dtype(dtype)?.contiguous()?.reshape((count * n * n, inputs))?;
        let patch = self.patch.reshape((size, inputs))?.to_dtype(dtype)?;
        rows.matmul(&patch.t()?)?.to_dtype(DType::F32)?.reshape((count, n * n, size))
    }
}
