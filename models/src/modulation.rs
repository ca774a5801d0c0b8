//! Balance of two streams by their gradients: OGM-GE (Peng et al., CVPR 2022, "Balanced Multimodal Learning via
//! On-the-fly Gradient Modulation", equations 8 to 11), as LMC uses it.
//!
//! ```text
//! s = Σ_items softmax(logits of the stream)[gold];   ρ_vision = s_vision / s_text,   ρ_text = 1 / ρ_vision
//! κ = 1 − tanh(α ρ) for the stream with ρ > 1, else 1;   g ← κ g + ε,   ε ~ N(0, std(g)²)
//! ```

use candle_core::backprop::GradStore;
use candle_core::{CpuStorage, D, DType, Device, InplaceOp1, Layout, Result, Tensor};

use crate::distill::Stream;
use crate::loss::masked;
use crate::ops;

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

impl Coefficients {
    /// Factors by ρ_vision. A ratio that is not a number (no item counts) damps nothing.
    pub fn new(ratio: f64, alpha: f64) -> Self {
        let factor = |ratio: f64| if ratio > 1.0 { 1.0 - (alpha * ratio).tanh() } else { 1.0 };
        Self { text: factor(ratio.recip()), vision: factor(ratio) }
    }
}

/// `[s_text, s_vision]` from each stream's own logits `[N, L]`, the gold labels `[N]` u32 and which items count (`items`
/// `[N]`, 1 or 0). The softmax runs over the `allowed` labels.
///
/// # Errors
/// Shapes that do not fit, a gold label outside `L`.
pub fn sums(text: &Tensor, vision: &Tensor, gold: &Tensor, items: &Tensor, allowed: Option<&[bool]>) -> Result<Tensor> {
    let sum = |logits: &Tensor| {
        let chances = candle_nn::ops::softmax(&masked(logits, allowed)?, D::Minus1)?;
        let of_gold = chances.gather(&gold.unsqueeze(1)?, 1)?.squeeze(1)?;
        (of_gold * items.to_dtype(DType::F32)?)?.sum_all()
    };
    Tensor::stack(&[sum(text)?, sum(vision)?], 0)
}

/// ρ_vision from [`sums`] in host memory. Not a number if no item counts.
pub fn ratio([text, vision]: [f32; 2]) -> f64 {
    f64::from(vision) / f64::from(text)
}

/// Where the factors κ come from.
#[derive(Debug, Clone)]
pub enum Balance {
    /// They are known.
    Known(Coefficients),
    /// They follow from [`sums`] that are still on a GPU: the kernel computes them, so that nothing waits for the sums.
    OnDevice {
        /// `[s_text, s_vision]`, f32.
        sums: Tensor,
        /// α.
        alpha: f64,
    },
}

impl Balance {
    /// The factors; waits for sums that are on a GPU.
    fn coefficients(&self) -> Result<Coefficients> {
        match self {
            Self::Known(coefficients) => Ok(*coefficients),
            Self::OnDevice { sums, alpha } => {
                let sums = sums.to_vec1::<f32>()?;
                Ok(Coefficients::new(ratio([sums[0], sums[1]]), *alpha))
            }
        }
    }
}

/// What happens to the gradient of a variable.
pub struct Change {
    /// Whose gradient.
    pub var: Tensor,
    /// Whose κ it is multiplied with.
    pub stream: Stream,
    /// Key of the noise ε, if there is any.
    pub noise: Option<u64>,
}

/// g ← κ g + ε for each variable that has a gradient, ε of the gradient's own sample standard deviation (before κ).
///
/// # Errors
/// A gradient that is not f32.
pub fn modulate(grads: &mut GradStore, changes: &[Change], balance: &Balance) -> Result<()> {
    #[cfg(feature = "cuda")]
    if changes.iter().all(|change| ops::on_gpu(&change.var)) {
        return modulate_on_gpu(grads, changes, balance);
    }
    let Coefficients { text, vision } = balance.coefficients()?;
    for change in changes {
        let factor = if change.stream == Stream::Text { text } else { vision };
        if factor == 1.0 && change.noise.is_none() {
            continue;
        }
        if let Some(grad) = grads.remove(&change.var) {
            grads.insert(&change.var, changed(grad, factor, change.noise)?);
        }
    }
    Ok(())
}

/// Noise is added in place: the gradient of a word embedding is as large as all layers of a small encoder.
fn changed(grad: Tensor, factor: f64, noise: Option<u64>) -> Result<Tensor> {
    let Some(key) = noise else { return grad * factor };
    let host = grad.contiguous()?.to_device(&Device::Cpu)?;
    host.inplace_op1(&Noise { factor: factor as f32, key })?;
    host.to_device(grad.device())
}

struct Noise {
    factor: f32,
    key: u64,
}

impl InplaceOp1 for Noise {
    fn name(&self) -> &'static str {
        "gradient noise"
    }

    fn cpu_fwd(&self, grad: &mut CpuStorage, layout: &Layout) -> Result<()> {
        let (CpuStorage::F32(values), Some((start, end))) = (grad, layout.contiguous_offsets()) else {
            candle_core::bail!("noise is added to contiguous gradients of f32")
        };
        let values = &mut values[start..end];
        let deviation = deviation(values);
        ops::add_normal(values, self.factor, deviation as f32, self.key);
        Ok(())
    }
}

/// All gradients in four launches, in place.
#[cfg(feature = "cuda")]
fn modulate_on_gpu(grads: &mut GradStore, changes: &[Change], balance: &Balance) -> Result<()> {
    let mut changed = Vec::new();
    for change in changes {
        if let Some(grad) = grads.remove(&change.var) {
            changed.push((change, grad.contiguous()?));
        }
    }
    let noisy = changed.iter().map(|(change, grad)| ops::Noisy { grad, stream: change.stream, key: change.noise });
    ops::add_noise(&noisy.collect::<Vec<_>>(), balance)?;
    for (change, grad) in changed {
        grads.insert(&change.var, grad);
    }
    Ok(())
}

/// Elements whose sums are made by one thread; fixed, so that they do not depend on the number of threads.
const CHUNK: usize = 1 << 16;

/// Added to the deviation of the noise, as LMC's code does; `models/kernels/optimiser.cu` has it as well.
const LEAST: f64 = 1e-8;

/// Standard deviation of the noise on a gradient: the sample standard deviation of its values (0 of a single one) + 1e-8.
pub fn deviation(values: &[f32]) -> f64 {
    let count = values.len() as f64;
    let mean = ops::run(values.chunks(CHUNK), ops::total).into_iter().sum::<f64>() / count;
    let squares: f64 = ops::run(values.chunks(CHUNK), |chunk| ops::squares(chunk, mean)).into_iter().sum();
    (squares / (count - 1.0).max(1.0)).sqrt() + LEAST
}
