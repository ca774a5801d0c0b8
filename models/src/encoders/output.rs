//! What an encoder returns: the states and the attention of its layers.

use candle_core::Tensor;

use super::attention::Readout;

/// States of every layer of a stream with `T` positions, and its attention: logits of the layers whose logits are read
/// (the last `shared_layers` of LMC's network), and logits and maps of layers that are composed of smaller operations
/// ([`crate::ops::composed`]).
pub struct StreamOutput {
    /// Input of the first layer and output of each, `[B, T, H]`.
    pub hidden: Vec<Tensor>,
    /// Attention maps, before dropout, `[B, heads, T, T]`.
    pub attentions: Vec<Tensor>,
    /// Attention logits: before softmax, with the position bias if there is one, without padding.
    pub logits: Vec<Tensor>,
}

impl StreamOutput {
    pub(crate) fn new(embedded: Tensor) -> Self {
        Self { hidden: vec![embedded], attentions: Vec::new(), logits: Vec::new() }
    }

    pub(crate) fn push(&mut self, states: Tensor, readout: Readout) {
        self.hidden.push(states);
        self.attentions.extend(readout.maps);
        self.logits.extend(readout.logits);
    }

    /// Returns the last layer's states `[B, T, H]`.
    pub fn last(&self) -> &Tensor {
        &self.hidden[self.hidden.len() - 1]
    }

    /// Returns the logits of the last `count` layers.
    pub(crate) fn into_last_logits(mut self, count: usize) -> Vec<Tensor> {
        self.logits.split_off(self.logits.len() - count)
    }
}
