//! Losses.

use candle_core::{D, DType, Result, Tensor};

/// Added to the logits of labels that may not be used: finite, so that no gradient becomes NaN; `exp` of it is 0.
const FORBIDDEN: f32 = -1e9;

/// Logits `[.., L]` in f32, in which labels outside `allowed` have a probability and a gradient of 0.
pub(crate) fn masked(logits: &Tensor, allowed: Option<&[bool]>) -> Result<Tensor> {
    let logits = logits.to_dtype(DType::F32)?;
    let Some(allowed) = allowed else { return Ok(logits) };
    logits.broadcast_add(&Tensor::new(forbidden(allowed), logits.device())?)
}

/// What is added to each label's logit.
fn forbidden(allowed: &[bool]) -> Vec<f32> {
    allowed.iter().map(|allowed| if *allowed { 0.0 } else { FORBIDDEN }).collect()
}

/// Mean cross-entropy over the rows, in f32: `-log softmax(logits)[target]`.
///
/// `logits` `[B, L]`, `targets` `[B]` u32. With `allowed`, the softmax runs over those labels only and the others get no
/// gradient.
///
/// # Errors
/// Shapes that do not fit.
pub fn masked_cross_entropy(logits: &Tensor, targets: &Tensor, allowed: Option<&[bool]>) -> Result<Tensor> {
    #[cfg(feature = "cuda")]
    if crate::ops::on_gpu(logits) {
        let bias = allowed.map(|allowed| Tensor::new(forbidden(allowed), logits.device())).transpose()?;
        return crate::ops::cross_entropy(&logits.to_dtype(DType::F32)?, bias.as_ref(), targets)?.mean_all();
    }
    let log_probabilities = candle_nn::ops::log_softmax(&masked(logits, allowed)?, D::Minus1)?;
    log_probabilities.gather(&targets.unsqueeze(1)?, 1)?.neg()?.mean_all()
}

/// Memory reconsolidation of EMAR (Han et al., ACL 2020, equation 7): mean cross-entropy of the rows against the
/// prototypes of their classes, `-log exp(x·p_y) / Σ_c exp(x·p_c)`.
///
/// `features` `[N, H]`, `prototypes` `[C, H]` of the classes that have one, `targets` `[N]` u32: rows of `prototypes`.
///
/// # Errors
/// Shapes that do not fit.
pub fn prototype_cross_entropy(features: &Tensor, prototypes: &Tensor, targets: &Tensor) -> Result<Tensor> {
    masked_cross_entropy(&features.matmul(&prototypes.t()?)?, targets, None)
}
