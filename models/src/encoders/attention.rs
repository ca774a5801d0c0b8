//! Multi-head attention (Vaswani et al. 2017): `softmax(Q Kᵀ/√d + padding) V`, with two extensions.
//!
//! - LMC (arXiv 2305.08698): the keys are a learned tensor that both streams share, the logits `Q Kᵀ/√d + B` with a
//!   learned position bias `B`.
//! - MKGformer (SIGIR 2022): keys and values of another stream (a prefix) go before those of the layer.

use candle_core::{Result, Tensor};

use crate::ops::{self, AttentionPart, DropoutMask, Keys, Linear, Residual, SideResult};

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

impl Attended {
    /// Returns what another stream reads of a layer with projected keys: keys, values and context, `[3, B, T, H]`.
    pub fn revealed(&self) -> Result<Tensor> {
        Tensor::stack(&[&ops::merge_heads(&self.keys)?, &ops::merge_heads(&self.values)?, &self.context], 0)
    }
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
    /// Runs the whole sublayer on `x` `[B, T, H]` as one operation; `prefix` and `padding` are those of
    /// [`Attention::forward`]. Returns states, and the logits if they are `read`, or none if the sublayer has to be composed.
    pub fn sublayer(
        &self,
        x: &Tensor,
        prefix: Option<&Tensor>,
        padding: Option<&Tensor>,
        [map_mask, mask]: [Option<DropoutMask>; 2],
        residual: &Residual,
        read: bool,
    ) -> Result<Option<(Tensor, Option<Tensor>)>> {
        let logits = read.then(SideResult::default);
        let prefix = prefix.map(Tensor::contiguous).transpose()?;
        let part = AttentionPart { prefix, logits: logits.clone(), ..self.part(x, padding, map_mask)? };
        let Some(states) = ops::sublayer(x, part, residual, mask)? else { return Ok(None) };
        let logits = logits.map(|logits| logits.attach(&states)).transpose()?;
        Ok(Some((states, logits)))
    }

    /// Does what [`Attention::sublayer`] does, without a prefix, and returns states and what another stream reads,
    /// [`Attended::revealed`].
    pub fn revealing_sublayer(
        &self,
        x: &Tensor,
        padding: Option<&Tensor>,
        [map_mask, mask]: [Option<DropoutMask>; 2],
        residual: &Residual,
    ) -> Result<Option<(Tensor, Tensor)>> {
        let revealed = SideResult::default();
        let part = AttentionPart { revealed: Some(revealed.clone()), ..self.part(x, padding, map_mask)? };
        let Some(states) = ops::sublayer(x, part, residual, mask)? else { return Ok(None) };
        let revealed = revealed.attach(&states)?;
        Ok(Some((states, revealed)))
    }

    /// Returns the attention of a sublayer on `x` `[B, T, H]`, which reveals nothing.
    fn part(&self, x: &Tensor, padding: Option<&Tensor>, mask: Option<DropoutMask>) -> Result<AttentionPart> {
        Ok(AttentionPart {
            query: self.query.clone(),
            keys: self.keys.clone(),
            value: self.value.clone(),
            heads: self.heads,
            rows: x.dim(0)?,
            prefix: None,
            padding: padding.cloned(),
            mask,
            logits: None,
            revealed: None,
        })
    }

    /// Composes attention over `x` `[B, T, H]`. `prefix` is keys and values of another stream, `[2, B, P, H]`, which go before
    /// those of the layer. `padding` is added to the logits: 0 on real keys and very negative on others. `mask` is the
    /// dropout of the maps.
    pub fn forward(
        &self,
        x: &Tensor,
        prefix: Option<&Tensor>,
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
            Some(prefix) => {
                let before = |n: usize| ops::split_heads(&prefix.get(n)?, self.heads, 1.0);
                (Tensor::cat(&[&before(0)?, &keys], 2)?, Tensor::cat(&[&before(1)?, &values], 2)?)
            }
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
