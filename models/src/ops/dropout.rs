//! Inverted dropout (Srivastava et al. 2014) of a whole tensor: `y = x · mask / (1 - p)`, and the same of the gradient.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};

use super::dispatch::fused;
#[cfg(feature = "cuda")]
use super::dispatch::on_gpu;
use super::host::{Host, values};
use super::mask::DropoutMask;

/// Applies `mask` to `x`, of any shape.
pub(crate) fn dropout(x: &Tensor, mask: DropoutMask) -> Result<Tensor> {
    if fused(x) {
        return x.contiguous()?.apply_op1(mask);
    }
    #[cfg(feature = "cuda")]
    if on_gpu(x) {
        return super::cuda::dropout(x, mask);
    }
    let mut factors = vec![1.0; x.elem_count()];
    mask.apply(0, &mut factors);
    x * Tensor::from_vec(factors, x.shape(), x.device())?.to_dtype(x.dtype())?
}

impl CustomOp1 for DropoutMask {
    fn name(&self) -> &'static str {
        "dropout"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        Ok((CpuStorage::F32(self.masked(values(x, layout)?)), layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let grad = grad.contiguous()?;
        let grad = Host::new(&grad)?;
        Tensor::from_vec(self.masked(grad.values()?), x.shape(), x.device()).map(Some)
    }
}
