//! Activations of feed-forward layers. GELU (Hendrycks & Gimpel 2016) is x Φ(x), with Φ exact (`erf`), approximated by
//! tanh (`tanh`), or by a sigmoid (`quick`, CLIP's form).

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};
use macro_rules_attribute::apply;

use super::dispatch::fused;
use super::host::{Host, values};
use super::maths::{normal, sigmoid};
use super::threads::{PIECE, run};
use crate::simd::vectorised;

/// √(2/π), a factor of the tanh form.
const ROOT: f32 = 0.797_884_6;
const CUBE: f32 = 0.044_715;
const QUICK: f32 = 1.702;

/// Returns x · ½ (1 + erf(x / √2)) of a tensor of any shape.
///
/// # Errors
/// The device fails.
pub fn gelu_erf(x: &Tensor) -> Result<Tensor> {
    if fused(x) { x.contiguous()?.apply_op1(Gelu::Erf) } else { x.gelu_erf() }
}

/// Returns x · ½ (1 + tanh(√(2/π) (x + 0.044715 x³))) of a tensor of any shape.
///
/// # Errors
/// The device fails.
pub fn gelu_tanh(x: &Tensor) -> Result<Tensor> {
    if fused(x) { x.contiguous()?.apply_op1(Gelu::Tanh) } else { x.gelu() }
}

/// Returns x · σ(1.702 x) of a tensor of any shape.
///
/// # Errors
/// The device fails.
pub fn quick_gelu(x: &Tensor) -> Result<Tensor> {
    if fused(x) {
        return x.contiguous()?.apply_op1(Gelu::Quick);
    }
    // candle's own sigmoid is a fused operation, so this composition uses simple ones.
    x / ((x * -f64::from(QUICK))?.exp()? + 1.0)?
}

/// The forms of GELU that networks use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gelu {
    /// Exact Φ, by the error function.
    Erf,
    /// Φ approximated by tanh, for `gelu_new` and `gelu_pytorch_tanh`.
    Tanh,
    /// Φ approximated by a sigmoid.
    Quick,
}

/// The activation of a feed-forward layer.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Activation {
    Gelu(Gelu),
    Relu,
}

impl Activation {
    /// Returns the activation that Hugging Face's `hidden_act` names.
    pub fn named(name: &str) -> Result<Self> {
        match name {
            "gelu" => Ok(Self::Gelu(Gelu::Erf)),
            "gelu_new" | "gelu_pytorch_tanh" => Ok(Self::Gelu(Gelu::Tanh)),
            "quick_gelu" => Ok(Self::Gelu(Gelu::Quick)),
            "relu" => Ok(Self::Relu),
            other => candle_core::bail!(
                "config.json: hidden_act `{other}` is not known; use gelu, gelu_new, quick_gelu or relu"
            ),
        }
    }

    /// Applies the activation to a tensor of any shape.
    pub fn forward(self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Gelu(Gelu::Erf) => gelu_erf(x),
            Self::Gelu(Gelu::Tanh) => gelu_tanh(x),
            Self::Gelu(Gelu::Quick) => quick_gelu(x),
            Self::Relu => x.relu(),
        }
    }
}

/// Returns 2u, u the argument of tanh: ½ (1 + tanh u) = σ(2u).
#[inline(always)]
fn tanh_argument(x: f32) -> f32 {
    2.0 * ROOT * (x + CUBE * x * x * x)
}

/// Returns x σ(u) and its slope σ(u) + x σ(u) (1 - σ(u)) u′; `inner` is u′.
#[inline(always)]
fn gated(x: f32, u: f32, inner: f32) -> (f32, f32) {
    let (s, rest) = sigmoid(u);
    (x * s, s + x * s * rest * inner)
}

/// Returns value and slope of the exact form.
#[inline(always)]
fn erf(x: f32) -> (f32, f32) {
    let (distribution, density) = normal(x);
    (x * distribution, distribution + x * density)
}

/// Returns value and slope of the tanh form.
#[inline(always)]
fn tanh(x: f32) -> (f32, f32) {
    gated(x, tanh_argument(x), 2.0 * ROOT * (1.0 + 3.0 * CUBE * x * x))
}

/// Returns value and slope of the sigmoid form.
#[inline(always)]
fn quick(x: f32) -> (f32, f32) {
    gated(x, QUICK * x, QUICK)
}

/// Writes GELU of each value of `x` to `y`.
#[apply(vectorised)]
pub(super) fn gelu(form: Gelu, x: &[f32], y: &mut [f32]) {
    let pairs = y.iter_mut().zip(x);
    match form {
        Gelu::Erf => pairs.for_each(|(y, x)| *y = erf(*x).0),
        Gelu::Tanh => pairs.for_each(|(y, x)| *y = tanh(*x).0),
        Gelu::Quick => pairs.for_each(|(y, x)| *y = quick(*x).0),
    }
}

/// Replaces the gradient g by g f′(x), and x by f(x), where f is GELU.
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
        *x = value;
        *g *= slope;
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
        let mut x_values = Host::new(x)?.values()?.to_vec();
        let mut dx = Host::new(&grad)?.values()?.to_vec();
        run(x_values.chunks_mut(PIECE).zip(dx.chunks_mut(PIECE)), |(x, dx)| gelu_gradient(*self, x, dx));
        Tensor::from_vec(dx, x.shape(), x.device()).map(Some)
    }
}
