//! Losses.

use candle_core::{D, DType, Result, Tensor};

/// Added to the logits of labels that may not be used: finite, so that no gradient becomes NaN; `exp` of it is 0.
const FORBIDDEN: f32 = -1e9;

/// Mean cross-entropy over the rows, in f32: `-log softmax(logits)[target]`.
///
/// `logits` `[B, L]`, `targets` `[B]` u32. With `allowed`, the softmax runs over those labels only and the others get no
/// gradient.
///
/// # Errors
/// Shapes that do not fit.
pub fn masked_cross_entropy(logits: &Tensor, targets: &Tensor, allowed: Option<&[bool]>) -> Result<Tensor> {
    let logits = logits.to_dtype(DType::F32)?;
    let logits = match allowed {
        None => logits,
        Some(allowed) => {
            let bias: Vec<f32> = allowed.iter().map(|allowed| if *allowed { 0.0 } else { FORBIDDEN }).collect();
            logits.broadcast_add(&Tensor::new(bias, logits.device())?)?
        }
    };
    let log_probabilities = candle_nn::ops::log_softmax(&logits, D::Minus1)?;
    log_probabilities.gather(&targets.unsqueeze(1)?, 1)?.neg()?.mean_all()
}
