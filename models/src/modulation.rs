//! Balance of two streams by their gradients: OGM-GE (Peng et al., CVPR 2022, "Balanced Multimodal Learning via
//! On-the-fly Gradient Modulation", equations 8 to 11), as LMC uses it.
//!
//! ```text
//! s = Σ_items softmax(logits of the stream)[gold];   ρ_vision = s_vision / s_text,   ρ_text = 1 / ρ_vision
//! κ = 1 − tanh(α ρ) for the stream with ρ > 1, else 1;   g ← κ g + ε,   ε ~ N(0, std(g)²)
//! ```

use candle_core::{D, DType, Result, Tensor};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;
use rayon::prelude::*;

use crate::loss::masked;

/// Factors κ of the streams' gradients.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Coefficients {
    /// Of the text stream.
    pub text: f64,
    /// Of the vision stream.
    pub vision: f64,
}

impl Default for Coefficients {
    /// Nothing is damped.
    fn default() -> Self {
        Self { text: 1.0, vision: 1.0 }
    }
}

/// Factors from each stream's own logits `[N, L]`, the gold labels `[N]` u32 and which items count (`items` `[N]`, 1 or
/// 0: padded words and words whose tag is unknown do not). The softmax runs over the `allowed` labels.
///
/// # Errors
/// Shapes that do not fit, a gold label outside `L`.
pub fn coefficients(
    text: &Tensor,
    vision: &Tensor,
    gold: &Tensor,
    items: &Tensor,
    allowed: Option<&[bool]>,
    alpha: f64,
) -> Result<Coefficients> {
    let score = |logits: &Tensor| {
        let chances = candle_nn::ops::softmax(&masked(logits, allowed)?, D::Minus1)?;
        let of_gold = chances.gather(&gold.unsqueeze(1)?, 1)?.squeeze(1)?;
        (of_gold * items.to_dtype(DType::F32)?)?.sum_all()?.to_scalar::<f32>().map(f64::from)
    };
    let ratio = score(vision)? / score(text)?;
    // Without items the ratio is not a number, and nothing is damped.
    let factor = |ratio: f64| if ratio > 1.0 { 1.0 - (alpha * ratio).tanh() } else { 1.0 };
    Ok(Coefficients { text: factor(ratio.recip()), vision: factor(ratio) })
}

/// Elements that share a generator; fixed, so that the noise does not depend on the number of threads.
const CHUNK: usize = 1 << 16;

/// `factor`·`grad`, with `noise` plus ε of the gradient's own sample standard deviation (before the factor).
///
/// # Errors
/// A gradient that is not f32.
pub fn modulate(grad: &Tensor, factor: f64, noise: Option<&mut ChaCha8Rng>) -> Result<Tensor> {
    let Some(rng) = noise else { return grad * factor };
    let mut values = grad.flatten_all()?.to_vec1::<f32>()?;
    let (factor, deviation) = (factor as f32, deviation(&values) as f32);
    let seeds: Vec<u64> = values.chunks(CHUNK).map(|_| rng.random()).collect();
    values.par_chunks_mut(CHUNK).zip(seeds).for_each(|(chunk, seed)| {
        let draws = ChaCha8Rng::seed_from_u64(seed).sample_iter::<f32, _>(StandardNormal);
        chunk.iter_mut().zip(draws).for_each(|(value, draw)| *value = factor * *value + deviation * draw);
    });
    Tensor::from_vec(values, grad.shape(), grad.device())
}

/// Sample standard deviation; 0 of a single value.
fn deviation(values: &[f32]) -> f64 {
    let count = values.len() as f64;
    let sum = |of: &(dyn Fn(f64) -> f64 + Sync)| -> f64 {
        let sums = values.par_chunks(CHUNK).map(|chunk| chunk.iter().map(|value| of(f64::from(*value))).sum::<f64>());
        sums.collect::<Vec<f64>>().into_iter().sum()
    };
    let mean = sum(&|value| value) / count;
    (sum(&|value| (value - mean).powi(2)) / (count - 1.0).max(1.0)).sqrt()
}
