//! Cross-entropy over some of the labels, and of features against class prototypes.

use candle_core::{D, DType, Result, Tensor};

/// Added to the logits of labels that may not be used. It is finite, so that no gradient becomes NaN, and its `exp` is
/// 0.
const FORBIDDEN: f32 = -1e9;

/// Returns logits `[.., L]` in f32 under which labels outside `allowed` have probability and gradient 0.
pub(crate) fn masked(logits: &Tensor, allowed: Option<&[bool]>) -> Result<Tensor> {
    let logits = logits.to_dtype(DType::F32)?;
    let Some(allowed) = allowed else { return Ok(logits) };
    logits.broadcast_add(&Tensor::new(forbidden(allowed), logits.device())?)
}

/// Returns what is added to each label's logit.
fn forbidden(allowed: &[bool]) -> Vec<f32> {
    allowed.iter().map(|allowed| if *allowed { 0.0 } else { FORBIDDEN }).collect()
}

/// Returns the mean cross-entropy over the rows, in f32: `-log softmax(logits)[target]`.
///
/// `logits` are `[B, L]`, `targets` are `[B]` u32. With `allowed`, the softmax runs over those labels only, and the
/// others get no gradient.
///
/// # Errors
/// The shapes do not match.
pub fn masked_cross_entropy(logits: &Tensor, targets: &Tensor, allowed: Option<&[bool]>) -> Result<Tensor> {
    #[cfg(feature = "cuda")]
    if crate::ops::on_gpu(logits) {
        let bias = allowed.map(|allowed| Tensor::new(forbidden(allowed), logits.device())).transpose()?;
        return crate::ops::cross_entropy(&logits.to_dtype(DType::F32)?, bias.as_ref(), targets)?.mean_all();
    }
    let log_probabilities = candle_nn::ops::log_softmax(&masked(logits, allowed)?, D::Minus1)?;
    log_probabilities.gather(&targets.unsqueeze(1)?, 1)?.neg()?.mean_all()
}

/// Returns the loss of EMAR's memory reconsolidation (Han et al., ACL 2020, equation 7): the mean cross-entropy of the
/// rows against the prototypes of their classes, `-log exp(x·p_y) / Σ_c exp(x·p_c)`.
///
/// `features` are `[N, H]`, `prototypes` are `[C, H]` of the classes that have one, and `targets` `[N]` u32 are rows of
/// `prototypes`.
///
/// # Errors
/// The shapes do not match.
pub fn prototype_cross_entropy(features: &Tensor, prototypes: &Tensor, targets: &Tensor) -> Result<Tensor> {
    masked_cross_entropy(&features.matmul(&prototypes.t()?)?, targets, None)
}
