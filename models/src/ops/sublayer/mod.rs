//! Half an encoder layer as one operation, with a backward pass by hand.
//!
//! ```text
//! after (BERT):   r = x + drop(F(x) Woᵀ + bo),   y = norm(r)
//! before (CLIP):  y = x + drop(F(norm(x)) Woᵀ + bo)
//! ```
//! F is attention (`attention`) or the wide half of the feed-forward part (`feed_forward`); each documents what it
//! keeps. The sublayer also keeps r (`after`), `[M, H]` with M = B · T rows. With `before`, norm(x) is computed again.
//!
//! Backward, from g = ∂L/∂y: `after` dr = norm'(r, g), `before` dr = g; do = drop(dr), dWo = doᵀ F, dbo = Σ do,
//! dF = do Wo, dh by F; dx = dr + dh, or with `before` dr + norm'(x, dh).
//!
//! The CPU's code is in `cpu`, the kernels' in `crate::ops::cuda`. [`Residual::open`] and [`Residual::close`] are the
//! composition of smaller operations that tests compare both with.

mod attention;
mod cpu;
mod feed_forward;
mod keys;

use candle_core::{Result, Tensor};

#[cfg(feature = "cuda")]
use super::cuda::{self, GpuPart};
use super::dispatch::fused;
#[cfg(feature = "cuda")]
use super::dispatch::on_gpu;
use super::dropout::dropout;
use super::layers::{Linear, Order, Residual};
use super::mask::DropoutMask;
use super::param_grads;
use cpu::CpuPart;

impl Residual {
    /// Returns the input of F for the states `x` `[B, T, H]`.
    pub fn open(&self, x: &Tensor) -> Result<Tensor> {
        match self.order {
            Order::Before => self.norm.forward(x),
            Order::After => Ok(x.clone()),
        }
    }

    /// Returns the sublayer's result for the states `x` `[B, T, H]` and F, `f`.
    pub fn close(&self, x: &Tensor, f: &Tensor, mask: Option<DropoutMask>) -> Result<Tensor> {
        let out = self.output.forward(f)?;
        let sum = (x + mask.map_or_else(|| Ok(out.clone()), |mask| dropout(&out, mask))?)?;
        match self.order {
            Order::Before => Ok(sum),
            Order::After => self.norm.forward(&sum),
        }
    }
}

/// F on every device that this build supports.
#[cfg(feature = "cuda")]
pub(crate) trait Part: CpuPart + GpuPart {}
#[cfg(feature = "cuda")]
impl<F: CpuPart + GpuPart> Part for F {}

/// F on every device that this build supports.
#[cfg(not(feature = "cuda"))]
pub(crate) trait Part: CpuPart {}
#[cfg(not(feature = "cuda"))]
impl<F: CpuPart> Part for F {}

/// Runs a sublayer on `x` `[B, T, H]` as one operation. Returns none if it has to be composed of smaller ones.
///
/// # Errors
/// The states have another size than the layer; a tensor operation fails.
pub(crate) fn sublayer<F: Part>(
    x: &Tensor,
    inner: F,
    residual: &Residual,
    mask: Option<DropoutMask>,
) -> Result<Option<Tensor>> {
    let accepted = inner.layers().into_iter().chain([&residual.output]).all(Linear::takes_grads)
        && inner.variables().into_iter().all(param_grads::accepts);
    if !x.track_op() || !accepted || !residual.norm.takes_grads() || x.elem_count() == 0 {
        return Ok(None);
    }
    if x.dims3()?.2 != residual.norm.width() {
        candle_core::bail!("a layer on states of size {} got a tensor of shape {:?}", residual.norm.width(), x.shape());
    }
    inner.check(x)?;
    #[cfg(feature = "cuda")]
    if on_gpu(x) && inner.supports(x)? {
        return cuda::sublayer(&x.contiguous()?, inner, residual, mask).map(Some);
    }
    if !fused(x) {
        return Ok(None);
    }
    cpu::sublayer(&x.contiguous()?, inner, residual, mask).map(Some)
}
