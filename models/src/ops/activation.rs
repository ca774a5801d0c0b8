//! GELU (Hendrycks & Gimpel 2016): x Φ(x) exactly (`erf`), by `tanh`, and by a sigmoid (`quick`, CLIP's).

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};

use super::maths::{normal, sigmoid};
use super::{Host, fused, map, values, zip};

/// √(2/π)
const ROOT: f32 = 0.797_884_6;
const CUBE: f32 = 0.044_715;
const QUICK: f32 = 1.702;

/// x · ½ (1 + erf(x / √2)), any shape.
///
/// # Errors
/// When the device fails.
pub fn gelu_erf(x: &Tensor) -> Result<Tensor> {
    if fused(x) { x.contiguous()?.apply_op1(Gelu::Erf) } else { x.gelu_erf() }
}

/// x · ½ (1 + tanh(√(2/π) (x + 0.044715 x³))), any shape.
///
/// # Errors
/// When the device fails.
pub fn gelu_tanh(x: &Tensor) -> Result<Tensor> {
    if fused(x) { x.contiguous()?.apply_op1(Gelu::Tanh) } else { x.gelu() }
}

/// x · σ(1.702 x), any shape.
///
/// # Errors
/// When the device fails.
pub fn quick_gelu(x: &Tensor) -> Result<Tensor> {
    if fused(x) {
        return x.contiguous()?.apply_op1(Gelu::Quick);
    }
    // candle's own sigmoid is a fused operation; this is made of simple ones.
    x / ((x * -f64::from(QUICK))?.exp()? + 1.0)?
}

enum Gelu {
    Erf,
    Tanh,
    Quick,
}

/// ½ (1 + tanh u) = σ(2u): its argument.
#[inline(always)]
fn tanh_argument(x: f32) -> f32 {
    2.0 * ROOT * (x + CUBE * x * x * x)
}

/// (x σ(u))′ = σ(u) + x σ(u) (1 - σ(u)) u′.
#[inline(always)]
fn slope(x: f32, u: f32, inner: f32) -> f32 {
    let (s, rest) = sigmoid(u);
    s + x * s * rest * inner
}

impl CustomOp1 for Gelu {
    fn name(&self) -> &'static str {
        "gelu"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = values(x, layout)?;
        let y = match self {
            Self::Erf => map(x, |x| x * normal(x).0),
            Self::Tanh => map(x, |x| x * sigmoid(tanh_argument(x)).0),
            Self::Quick => map(x, |x| x * sigmoid(QUICK * x).0),
        };
        Ok((CpuStorage::F32(y), layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let grad = grad.contiguous()?;
        let (held, grad) = (Host::new(x)?, Host::new(&grad)?);
        let (values, grad) = (held.values()?, grad.values()?);
        let result = match self {
            Self::Erf => zip(values, grad, |x, g| {
                let (distribution, density) = normal(x);
                g * (distribution + x * density)
            }),
            Self::Tanh => {
                zip(values, grad, |x, g| g * slope(x, tanh_argument(x), 2.0 * ROOT * (1.0 + 3.0 * CUBE * x * x)))
            }
            Self::Quick => zip(values, grad, |x, g| g * slope(x, QUICK * x, QUICK)),
        };
        Tensor::from_vec(result, x.shape(), x.device()).map(Some)
    }
}
