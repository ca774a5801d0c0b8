//! An encoder layer of BERT (norms after the sums) or of CLIP (norms before): attention, then the feed-forward part
//! `W₂ act(W₁ x)`. Each runs as one operation (`ops::sublayer`) or is composed of smaller ones.

use candle_core::{Result, Tensor};

use super::attention::{Attended, Attention, Readout};
use super::states::states_at;
use crate::mode::Mode;
use crate::ops::{self, Activation, DropoutMask, FeedForwardPart, Linear, Residual};

/// Most layers of an encoder. Published ones have up to 48, and each layer that a file lacks takes memory before that is
/// noticed.
const MOST_LAYERS: usize = 1000;

/// Checks the number of layers that a `config.json` gives.
///
/// # Errors
/// There is none, or there are more than any encoder has.
pub(crate) fn check_layers(layers: usize) -> Result<()> {
    match layers {
        0 => candle_core::bail!("config.json: num_hidden_layers is 0, but an encoder needs at least one layer"),
        1..=MOST_LAYERS => Ok(()),
        _ => candle_core::bail!("config.json: num_hidden_layers is {layers}; an encoder has {MOST_LAYERS} at most"),
    }
}

pub(crate) struct Layer {
    pub attention: Attention,
    pub attention_end: Residual,
    pub up: Linear,
    pub activation: Activation,
    pub end: Residual,
    /// Dropout of the results of both sublayers.
    pub dropout: f64,
    /// Whether the attention logits are read.
    pub reads_logits: bool,
}

impl Layer {
    /// Returns states `[B, T, H]`, or `[B, A, H]` at the positions `read` `[B, A]` alone, and what the layer reveals of its
    /// attention; `prefix` and `padding` are those of [`Attention::forward`].
    pub fn forward(
        &self,
        x: &Tensor,
        prefix: Option<&Tensor>,
        padding: Option<&Tensor>,
        read: Option<&Tensor>,
        mode: &mut Mode<'_>,
    ) -> Result<(Tensor, Readout)> {
        let masks = self.masks(mode);
        let fused = self.attention.sublayer(x, prefix, padding, masks, &self.attention_end, self.reads_logits)?;
        let (states, readout) = match fused {
            Some((states, logits)) => (states, Readout { logits, maps: None }),
            None => {
                let (states, Attended { logits, maps, .. }) = self.composed(x, prefix, padding, masks)?;
                (states, Readout { logits: Some(logits), maps: Some(maps) })
            }
        };
        // Attention needs every position, the feed-forward part only those that are read.
        let states = read.map_or(Ok(states.clone()), |read| states_at(&states, read))?;
        Ok((self.feed_forward(&states, None, mode)?, readout))
    }

    /// Runs the first sublayer. Returns states `[B, T, H]` and what another stream reads of it, [`Attended::revealed`].
    pub fn attend(&self, x: &Tensor, padding: Option<&Tensor>, mode: &mut Mode<'_>) -> Result<(Tensor, Tensor)> {
        let masks = self.masks(mode);
        if let Some(fused) = self.attention.revealing_sublayer(x, padding, masks, &self.attention_end)? {
            return Ok(fused);
        }
        let (states, attended) = self.composed(x, None, padding, masks)?;
        Ok((states, attended.revealed()?))
    }

    /// Runs the second sublayer; `extra` `[B, T, intermediate]` is added before the activation.
    pub fn feed_forward(&self, x: &Tensor, extra: Option<&Tensor>, mode: &mut Mode<'_>) -> Result<Tensor> {
        let mask = mode.mask(self.dropout);
        if let Activation::Gelu(activation) = self.activation {
            let part = FeedForwardPart { up: self.up.clone(), activation, extra: extra.cloned() };
            if let Some(states) = ops::sublayer(x, part, &self.end, mask)? {
                return Ok(states);
            }
        }
        let wide = self.up.forward(&self.end.open(x)?)?;
        let wide = extra.map_or(Ok(wide.clone()), |extra| wide + extra)?;
        self.end.close(x, &self.activation.forward(&wide)?, mask)
    }

    /// Returns the dropout masks of the maps and of the first sublayer's result.
    fn masks(&self, mode: &mut Mode<'_>) -> [Option<DropoutMask>; 2] {
        [mode.mask(self.attention.map_dropout), mode.mask(self.dropout)]
    }

    fn composed(
        &self,
        x: &Tensor,
        prefix: Option<&Tensor>,
        padding: Option<&Tensor>,
        [map_mask, mask]: [Option<DropoutMask>; 2],
    ) -> Result<(Tensor, Attended)> {
        let attended = self.attention.forward(&self.attention_end.open(x)?, prefix, padding, map_mask)?;
        Ok((self.attention_end.close(x, &attended.context, mask)?, attended))
    }
}

#[cfg(test)]
mod tests {
    use super::check_layers;

    #[test]
    fn no_layer_and_layers_without_end_are_refused() {
        assert!(check_layers(1).is_ok() && check_layers(1000).is_ok());
        for layers in [0, 1001, usize::MAX] {
            let message = check_layers(layers).unwrap_err().to_string();
            assert!(message.contains(&format!("num_hidden_layers is {layers}")), "{message}");
        }
    }
}
