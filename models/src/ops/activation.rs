//! GELU (Hendrycks & Gimpel 2016): x Φ(x) exactly (`erf`), by `tanh`, and by a sigmoid (`quick`, CLIP's).

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};
use macro_rules_attribute::apply;

use super::maths::{normal, sigmoid};
use super::{Host, PIECE, fused, run, values};
use crate::simd::vectorised;

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

/// Which form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gelu {
    /// Hendrycks & Gimpel 2016.
    Erf,
    /// Φ by tanh.
    Tanh,
    /// Φ by a sigmoid.
    Quick,
}

/// ½ (1 + tanh u) = σ(2u): its argument.
#[inline(always)]
fn tanh_argument(x: f32) -> f32 {
    2.0 * ROOT * (x + CUBE * x * x * x)
}

/// x σ(u) and its slope σ(u) + x σ(u) (1 - σ(u)) u′.
#[inline(always)]
fn gated(x: f32, u: f32, inner: f32) -> (f32, f32) {
    let (s, rest) = sigmoid(u);
    (x * s, s + x * s * rest * inner)
}

/// Value and slope.
#[inline(always)]
fn erf(x: f32) -> (f32, f32) {
    let (distribution, density) = normal(x);
    (x * distribution, distribution + x * density)
}

/// Value and slope.
#[inline(always)]
fn tanh(x: f32) -> (f32, f32) {
    gated(x, tanh_argument(x), 2.0 * ROOT * (1.0 + 3.0 * CUBE * x * x))
}

/// Value and slope.
#[inline(always)]
fn quick(x: f32) -> (f32, f32) {
    gated(x, QUICK * x, QUICK)
}

/// y = f(x).
#[apply(vectorised)]
pub(super) fn gelu(form: Gelu, x: &[f32], y: &mut [f32]) {
    let pairs = y.iter_mut().zip(x);
    match form {
        Gelu::Erf => pairs.for_each(|(y, x)| *y = erf(*x).0),
        Gelu::Tanh => pairs.for_each(|(y, x)| *y = tanh(*x).0),
        Gelu::Quick => pairs.for_each(|(y, x)| *y = quick(*x).0),
    }
}

/// g f′(x) in place of g, and f(x) in place of x.
#[apply(vectorised)]
pub(super) fn gelu_gradient(form: Gelu, x: &mut [f32], grad: &mut [f32]) {
    match form {
        Gelu::Erf => each(x, grad, erf),
        Gelu::Tanh => each(x, grad, tanh),
        Gelu::Quick => each(x, grad, quick),
    }
}

#[inline(always)]
fn each(x: &mut [f32], grad: &mut [f32], f: impl Fn(f32) -> (f32, f32)) {
    for (x, g) in x.iter_mut().zip(grad) {
        let (value, slope) = f(*x);
        (*x, *g) = (value, *g * slope);
    }
}

impl CustomOp1 for Gelu {
    fn name(&self) -> &'static str {
        "gelu"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = values(x, layout)?;
        let mut y = vec![0.0; x.len()];
        run(y.chunks_mut(PIECE).zip(x.chunks(PIECE)), |(y, x)| gelu(*self, x, y));
        Ok((CpuStorage::F32(y), layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let grad = grad.contiguous()?;
        let (mut x_values, mut dx) = (Host::new(x)?.values()?.to_vec(), Host::new(&grad)?.values()?.to_vec());
        run(x_values.chunks_mut(PIECE).zip(dx.chunks_mut(PIECE)), |(x, dx)| gelu_gradient(*self, x, dx));
        Tensor::from_vec(dx, x.shape(), x.device()).map(Some)
    }
}
