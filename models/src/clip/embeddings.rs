//! Pixels to tokens: patches through one linear map (a convolution whose stride is its kernel), after a class token,
//! plus learned positions: of every token of an image, of every patch of crops.

use candle_core::{DType, Result, Tensor};
use candle_nn::VarBuilder;

use super::{ClipVisionConfig, DETECTED_SIDE, GROUNDING_SIDE, Visual};
use crate::init::normal;
use crate::network::Pixels;

pub(super) struct Embeddings {
    class: Tensor,
    patch: Tensor,
    /// `[V, H]`; without the class token where crops are seen, `[V - 1, H]`.
    position: Tensor,
    visual: Visual,
    image_side: usize,
}

impl Embeddings {
    /// `vb` is the network's root: positions of crops are no part of CLIP.
    pub fn new(config: &ClipVisionConfig, visual: Visual, vb: &VarBuilder<'_>) -> Result<Self> {
        let (size, side) = (config.hidden_size, config.patch_size);
        let own = vb.pp("vision_model.embeddings");
        let factor = config.initializer_factor;
        let init = normal(config.initializer_range * factor);
        let tokens = config.tokens(visual)?;
        let (place, rows, positions) = match visual {
            Visual::Image => (own.pp("position_embedding"), tokens, init),
            Visual::Crops => (vb.pp("vision.crop_positions"), tokens - 1, normal(0.02)),
        };
        let class = normal(factor * (size as f64).sqrt().recip());
        Ok(Self {
            class: own.get_with_hints(size, "class_embedding", class)?,
            patch: own.get_with_hints((size, config.num_channels, side, side), "patch_embedding.weight", init)?,
            position: place.get_with_hints((rows, size), "weight", positions)?,
            visual,
            image_side: config.image_size,
        })
    }

    /// `[B, V, H]`.
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

    /// `[B, crops, C, side, side]` to `[B, crops · patches, H]`.
    fn crops(&self, crops: &Tensor, side: usize, dtype: DType) -> Result<Tensor> {
        let patches = self.patches(&crops.flatten_to(1)?, side, dtype)?;
        patches.reshape((crops.dim(0)?, (), patches.dim(2)?))
    }

    /// `[N, C, side, side]` to `[N, patches, H]`, by a product of type `dtype`.
    fn patches(&self, images: &Tensor, side: usize, dtype: DType) -> Result<Tensor> {
        let (count, channels, height, width) = images.dims4()?;
        let (size, colours, patch, _) = self.patch.dims4()?;
        if (channels, height, width) != (colours, side, side) {
            candle_core::bail!(
                "an image is {height}×{width} with {channels} channels, the network needs {side}×{side} with {colours}"
            );
        }
        let (n, inputs) = (side / patch, colours * patch * patch);
        let grid = images.reshape(vec![count, channels, n, patch, n, patch])?.permute(vec![0, 2, 4, 1, 3, 5])?;
        let rows = grid.to_dtype(dtype)?.contiguous()?.reshape((count * n * n, inputs))?;
        let patch = self.patch.reshape((size, inputs))?.to_dtype(dtype)?;
        rows.matmul(&patch.t()?)?.to_dtype(DType::F32)?.reshape((count, n * n, size))
    }
}
