//! Balances two streams through their gradients: OGM-GE (Peng et al., CVPR 2022, "Balanced Multimodal Learning via
//! On-the-fly Gradient Modulation", equations 8 to 11), as LMC uses it.
//!
//! ```text
//! s = Σ_items softmax(logits of the stream)[gold];   ρ_vision = s_vision / s_text,   ρ_text = 1 / ρ_vision
//! κ = 1 − tanh(α ρ) for the stream with ρ > 1, else 1;   g ← κ g + ε,   ε ~ N(0, std(g)²)
//! ```

use candle_core::backprop::GradStore;
use candle_core::{CpuStorage, D, DType, Device, InplaceOp1, Layout, Result, Tensor};

use super::cross_entropy::masked;
use crate::inputs::Stream;
use crate::ops;

/// The factors κ of the streams' gradients.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Coefficients {
    /// Factor of the text stream.
    pub text: f64,
    /// Factor of the vision stream.
    pub vision: f64,
}

impl Default for Coefficients {
    /// Returns factors that damp neither stream.
    fn default() -> Self {
        Self { text: 1.0, vision: 1.0 }
    }
}

impl Coefficients {
    /// Computes the factors from ρ_vision. A ratio that is not a number (no item counts) damps neither stream.
    pub fn new(ratio: f64, alpha: f64) -> Self {
        let factor = |ratio: f64| if ratio > 1.0 { 1.0 - (alpha * ratio).tanh() } else { 1.0 };
        Self { text: factor(ratio.recip()), vision: factor(ratio) }
    }

    /// Returns the factor of a stream.
    fn for_stream(self, stream: Stream) -> f64 {
        match stream {
            Stream::Text => self.text,
            Stream::Vision => self.vision,
        }
    }
}

/// Returns `[s_text, s_vision]` from each stream's own logits `[N, L]`, the gold labels `[N]` u32 and `items` `[N]`, 1
/// for items that count and 0 for others. The softmax runs over the `allowed` labels.
///
/// # Errors
/// The shapes do not match, or a gold label is not below `L`.
pub fn sums(text: &Tensor, vision: &Tensor, gold: &Tensor, items: &Tensor, allowed: Option<&[bool]>) -> Result<Tensor> {
    let sum = |logits: &Tensor| {
        let chances = candle_nn::ops::softmax(&masked(logits, allowed)?, D::Minus1)?;
        let gold_chances = chances.gather(&gold.unsqueeze(1)?, 1)?.squeeze(1)?;
        (gold_chances * items.to_dtype(DType::F32)?)?.sum_all()
    };
    Tensor::stack(&[sum(text)?, sum(vision)?], 0)
}

/// Returns ρ_vision from [`sums`] in host memory, which is not a number if no item counts.
pub fn ratio([text, vision]: [f32; 2]) -> f64 {
    f64::from(vision) / f64::from(text)
}

/// How the factors κ are given.
#[derive(Debug, Clone)]
pub enum Balance {
    /// The host knows the factors.
    Known(Coefficients),
    /// The kernel computes them from [`sums`] on a GPU, so that the host does not wait for the sums.
    OnDevice {
        /// The result of [`sums`], `[s_text, s_vision]` f32.
        sums: Tensor,
        /// Strength α of the modulation.
        alpha: f64,
    },
}

impl Balance {
    /// Returns the factors, waiting for sums that are on a GPU.
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

/// A change of the gradient of one variable.
pub struct Change {
    /// The variable whose gradient changes.
    pub var: Tensor,
    /// The stream whose κ the gradient is multiplied with.
    pub stream: Stream,
    /// Key of the noise ε, if the gradient gets any.
    pub noise: Option<u64>,
}

/// Replaces the gradient g of each variable that has one by κ g + ε, with ε of the sample standard deviation of g.
///
/// # Errors
/// A gradient is not f32.
pub fn modulate(grads: &mut GradStore, changes: &[Change], balance: &Balance) -> Result<()> {
    #[cfg(feature = "cuda")]
    if changes.iter().all(|change| ops::on_gpu(&change.var)) {
        return modulate_on_gpu(grads, changes, balance);
    }
    let coefficients = balance.coefficients()?;
    for change in changes {
        let factor = coefficients.for_stream(change.stream);
        if factor == 1.0 && change.noise.is_none() {
            continue;
        }
        if let Some(grad) = grads.remove(&change.var) {
            grads.insert(&change.var, changed(grad, factor, change.noise)?);
        }
    }
    Ok(())
}

/// Returns κ g + ε. The noise is added in place, because the gradient of a word embedding is as large as all layers of
/// a small encoder.
fn changed(grad: Tensor, factor: f64, noise: Option<u64>) -> Result<Tensor> {
    let Some(key) = noise else { return grad * factor };
    let host = grad.contiguous()?.to_device(&Device::Cpu)?;
    host.inplace_op1(&NoiseOp { factor: factor as f32, key })?;
    host.to_device(grad.device())
}

struct NoiseOp {
    factor: f32,
    key: u64,
}

impl InplaceOp1 for NoiseOp {
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

/// Changes all gradients in place, in four launches.
#[cfg(feature = "cuda")]
fn modulate_on_gpu(grads: &mut GradStore, changes: &[Change], balance: &Balance) -> Result<()> {
    let mut changed = Vec::new();
    for change in changes {
        if let Some(grad) = grads.remove(&change.var) {
            changed.push((change, grad.contiguous()?));
        }
    }
    let (known, ratio) = match balance {
        Balance::Known(known) => (*known, None),
        Balance::OnDevice { sums, alpha } => (Coefficients::default(), Some(ops::SumRatio { sums, alpha: *alpha })),
    };
    let noisy = changed.iter().map(|(change, grad)| ops::NoisyGrad {
        grad,
        factor: known.for_stream(change.stream),
        sum: if change.stream == Stream::Text { 0 } else { 1 },
        key: change.noise,
    });
    ops::add_noise(&noisy.collect::<Vec<_>>(), ratio)?;
    for (change, grad) in changed {
        grads.insert(&change.var, grad);
    }
    Ok(())
}

/// Elements that one thread sums at a time: a fixed number, so that sums do not depend on the number of threads.
const CHUNK: usize = 1 << 16;

/// Added to the deviation of the noise, as in LMC's code. `models/kernels/optimiser.cu` repeats the constant.
const LEAST: f64 = 1e-8;

/// Returns the standard deviation of the noise on a gradient: the sample standard deviation of its values (0 of a
/// single value) + 1e-8.
pub fn deviation(values: &[f32]) -> f64 {
    let count = values.len() as f64;
    let mean = ops::run(values.chunks(CHUNK), ops::total).into_iter().sum::<f64>() / count;
    let squares: f64 = ops::run(values.chunks(CHUNK), |chunk| ops::squares(chunk, mean)).into_iter().sum();
    (squares / (count - 1.0).max(1.0)).sqrt() + LEAST
}
