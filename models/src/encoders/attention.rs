//! Multi-head attention (Vaswani et al. 2017): `softmax(Q Kᵀ/√d + padding) V`, with two extensions.
//!
//! - LMC (arXiv 2305.08698): the keys are a learned tensor that both streams share, the logits `Q Kᵀ/√d + B` with a
//!   learned position bias `B`.
//! - MKGformer (SIGIR 2022): keys and values of another stream (a prefix) go before those of the layer.

use candle_core::{Result, Tensor};

use crate::ops::{self, AttentionPart, DropoutMask, Keys, Linear, Residual, SideResult};

/// Keys and values that go before those of a layer, `[B, heads, P, d]` each.
pub(crate) struct Prefix {
    pub keys: Tensor,
    pub values: Tensor,
}

/// What attention computes; `S` is `P + T` with a prefix, else `T`.
pub(crate) struct Attended {
    /// Weighted values with heads merged, before any output projection, `[B, T, H]`.
    pub context: Tensor,
    /// Logits before padding and softmax, `[B, heads, T, S]`.
    pub logits: Tensor,
    /// Maps after softmax, before dropout, `[B, heads, T, S]`.
    pub maps: Tensor,
    /// Keys of the layer without a prefix, `[B, heads, T, d]`; learned keys as [`crate::ops::SharedKey::first`] returns
    /// them.
    pub keys: Tensor,
    /// Values of the layer without a prefix, `[B, heads, T, d]`.
    pub values: Tensor,
}

/// What a layer reveals of its attention: the logits if they are read, and everything if the layer was composed.
pub(crate) struct Readout {
    /// Logits before padding and softmax, as in [`Attended::logits`].
    pub logits: Option<Tensor>,
    /// Maps after softmax, as in [`Attended::maps`].
    pub maps: Option<Tensor>,
}

/// Attention of a layer, without its output projection.
pub(crate) struct Attention {
    pub query: Linear,
    pub keys: Keys,
    pub value: Linear,
    pub heads: usize,
    pub map_dropout: f64,
}

impl Attention {
    /// Runs the whole sublayer on `x` `[B, T, H]` as one operation. Returns states, and the logits if they are `read`,
    /// or none if the sublayer has to be composed.
    pub fn sublayer(
        &self,
        x: &Tensor,
        padding: Option<&Tensor>,
        [map_mask, mask]: [Option<DropoutMask>; 2],
        residual: &Residual,
        read: bool,
    ) -> Result<Option<(Tensor, Option<Tensor>)>> {
        let logits = read.then(SideResult::default);
        let part = AttentionPart {
            query: self.query.clone(),
            keys: self.keys.clone(),
            value: self.value.clone(),
            heads: self.heads,
            rows: x.dim(0)?,
            padding: padding.cloned(),
            mask: map_mask,
            logits: logits.clone(),
        };
        let Some(states) = ops::sublayer(x, part, residual, mask)? else { return Ok(None) };
        let logits = logits.map(|logits| logits.attach(&states)).transpose()?;
        Ok(Some((states, logits)))
    }

    /// Composes attention over `x` `[B, T, H]`. `padding` is added to the logits: 0 on real keys and very negative on
    /// others. `mask` is the dropout of the maps.
    pub fn forward(
        &self,
        x: &Tensor,
        prefix: Option<&Prefix>,
        padding: Option<&Tensor>,
        mask: Option<DropoutMask>,
    ) -> Result<Attended> {
        let split = |layer: &Linear, scale: f64| ops::split_heads(&layer.forward(x)?, self.heads, scale);
        let head = x.dim(2)? / self.heads;
        let query = split(&self.query, (head as f64).sqrt().recip())?;
        let (keys, bias) = match &self.keys {
            Keys::Projected(key) => (split(key, 1.0)?, None),
            Keys::Shared(shared) => {
                let (keys, bias) = shared.first(x.dim(1)?, x.dtype())?;
                (keys, Some(bias))
            }
        };
        let values = split(&self.value, 1.0)?;
        let (all_keys, all_values) = match prefix {
            Some(prefix) => (Tensor::cat(&[&prefix.keys, &keys], 2)?, Tensor::cat(&[&prefix.values, &values], 2)?),
            None => (keys.clone(), values.clone()),
        };
        let logits = match self.keys {
            Keys::Projected(_) => ops::matmul_transposed(&query, &all_keys)?,
            Keys::Shared(_) => query.broadcast_matmul(&all_keys.transpose(2, 3)?.contiguous()?)?,
        };
        let logits = bias.map_or(Ok(logits.clone()), |bias| logits.broadcast_add(&bias))?;
        let maps = padding.map_or_else(|| ops::softmax(&logits), |padding| ops::masked_softmax(&logits, padding))?;
        let dropped = mask.map_or_else(|| Ok(maps.clone()), |mask| ops::dropout(&maps, mask))?;
        let context = ops::merge_heads(&dropped.matmul(&all_values)?)?;
        Ok(Attended { context, logits, maps, keys, values })
    }
}
