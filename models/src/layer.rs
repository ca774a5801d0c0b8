//! An encoder layer of BERT (norms after the sums) or of CLIP (norms before): attention, then the feed-forward part
//! `W₂ act(W₁ x)`, each as `ops::sublayer` or composed of smaller operations.

use candle_core::{Result, Tensor};

use crate::activation::Activation;
use crate::attention::{Attended, Attention, Prefix, Readout};
use crate::linear::Linear;
use crate::mode::Mode;
use crate::ops::{self, FeedForwardParts, Mask, Residual};
use crate::states;

pub(crate) struct Layer {
    pub attention: Attention,
    pub attention_end: Residual,
    pub up: Linear,
    pub activation: Activation,
    pub end: Residual,
    /// Of both sublayers' results.
    pub dropout: f64,
    /// Whether somebody reads the attention logits.
    pub maps: bool,
}

impl Layer {
    /// Returns the states `[B, T, H]`, or `[B, A, H]` at the positions `read` `[B, A]` alone, and what can be read of the
    /// attention; `prefix` and `padding` as in [`Attention::forward`].
    pub fn forward(
        &self,
        x: &Tensor,
        prefix: Option<&Prefix>,
        padding: Option<&Tensor>,
        read: Option<&Tensor>,
        mode: &mut Mode<'_>,
    ) -> Result<(Tensor, Readout)> {
        let masks = self.masks(mode);
        let fused = match prefix {
            None => self.attention.sublayer(x, padding, masks, &self.attention_end, self.maps)?,
            Some(_) => None,
        };
        let (states, readout) = match fused {
            Some((states, logits)) => (states, Readout { logits, maps: None }),
            None => {
                let (states, Attended { logits, maps, .. }) = self.composed(x, prefix, padding, masks)?;
                (states, Readout { logits: Some(logits), maps: Some(maps) })
            }
        };
        // The attention needs every position, what follows it only those that are read.
        let states = read.map_or(Ok(states.clone()), |read| states::at(&states, read))?;
        Ok((self.feed_forward(&states, None, mode)?, readout))
    }

    /// The first sublayer, composed: states `[B, T, H]`, and how they came about.
    pub fn attend(&self, x: &Tensor, padding: Option<&Tensor>, mode: &mut Mode<'_>) -> Result<(Tensor, Attended)> {
        let masks = self.masks(mode);
        self.composed(x, None, padding, masks)
    }

    /// The second sublayer; `extra` `[B, T, intermediate]` is added before the activation.
    pub fn feed_forward(&self, x: &Tensor, extra: Option<&Tensor>, mode: &mut Mode<'_>) -> Result<Tensor> {
        let mask = mode.mask(self.dropout);
        if let Activation::Gelu(activation) = self.activation {
            let parts = FeedForwardParts { up: self.up.clone(), activation, extra: extra.cloned() };
            if let Some(states) = ops::sublayer(x, parts, &self.end, mask)? {
                return Ok(states);
            }
        }
        let wide = self.up.forward(&self.end.open(x)?)?;
        let wide = extra.map_or(Ok(wide.clone()), |extra| wide + extra)?;
        self.end.close(x, &self.activation.forward(&wide)?, mask)
    }

    /// Of the maps and of the first sublayer's result.
    fn masks(&self, mode: &mut Mode<'_>) -> [Option<Mask>; 2] {
        [mode.mask(self.attention.map_dropout), mode.mask(self.dropout)]
    }

    fn composed(
        &self,
        x: &Tensor,
        prefix: Option<&Prefix>,
        padding: Option<&Tensor>,
        [map_mask, mask]: [Option<Mask>; 2],
    ) -> Result<(Tensor, Attended)> {
        let attended = self.attention.forward(&self.attention_end.open(x)?, prefix, padding, map_mask)?;
        Ok((self.attention_end.close(x, &attended.context, mask)?, attended))
    }
}
