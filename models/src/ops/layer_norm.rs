//! Layer normalisation (Ba et al. 2016): y = x̂ w + b, x̂ = (x - mean) r, r = 1 / √(var + ε), over the last dimension.
//!
//! dx = r (g w - mean(g w) - x̂ mean(g w x̂)), dw = Σ g x̂, db = Σ g.

use candle_core::{CpuStorage, CustomOp3, D, DType, Layout, Result, Shape, Tensor};
use macro_rules_attribute::apply;

use super::dispatch::fused;
#[cfg(feature = "cuda")]
use super::dispatch::on_gpu;
use super::host::{Host, values};
use super::layers::LayerNorm;
use super::maths::{sum, sum2, sum3};
use super::param_grads::{push_grad, push_or_return};
use super::threads::{rows_per_piece, run};
use crate::simd::vectorised;

/// Normalises `x` `[.., H]` with `weight` `[H]` and `bias` `[H]`.
///
/// # Errors
/// The shapes do not match.
pub fn layer_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64) -> Result<Tensor> {
    if fused(x) && fused(weight) && fused(bias) {
        return x.contiguous()?.apply_op3(&weight.contiguous()?, &bias.contiguous()?, LayerNormOp { eps: eps as f32 });
    }
    #[cfg(feature = "cuda")]
    if on_gpu(x) {
        return super::cuda::layer_norm(x, weight, bias, eps);
    }
    let dtype = x.dtype();
    let x = x.to_dtype(if dtype == DType::BF16 { DType::F32 } else { dtype })?;
    let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
    let deviation = (centred.sqr()?.mean_keepdim(D::Minus1)? + eps)?.sqrt()?;
    centred.broadcast_div(&deviation)?.broadcast_mul(weight)?.broadcast_add(bias)?.to_dtype(dtype)
}

/// The node of the graph.
struct LayerNormOp {
    eps: f32,
}

/// Returns mean and r of a row.
#[inline(always)]
fn moments(x: &[f32], eps: f32) -> (f32, f32) {
    let n = x.len() as f32;
    let mean = sum(x, |x| x) / n;
    let variance = sum(x, |x| (x - mean) * (x - mean)) / n;
    (mean, 1.0 / (variance + eps).sqrt())
}

#[apply(vectorised)]
fn normalise(y: &mut [f32], x: &[f32], w: &[f32], b: &[f32], eps: f32) {
    for (y, x) in y.chunks_exact_mut(w.len()).zip(x.chunks_exact(w.len())) {
        let (mean, r) = moments(x, eps);
        let row = y.iter_mut().zip(x).zip(w.iter().zip(b));
        row.for_each(|((y, x), (w, b))| *y = (x - mean) * r * w + b);
    }
}

/// Writes dx of some rows and adds their parts to dw and db.
#[apply(vectorised)]
fn gradients(dx: &mut [f32], x: &[f32], g: &[f32], w: &[f32], [dw, db]: [&mut [f32]; 2], eps: f32) {
    let width = w.len();
    let scale = 1.0 / width as f32;
    for ((dx, x), g) in dx.chunks_exact_mut(width).zip(x.chunks_exact(width)).zip(g.chunks_exact(width)) {
        let (mean, r) = moments(x, eps);
        for ((dx, x), (g, (dw, db))) in dx.iter_mut().zip(x).zip(g.iter().zip(dw.iter_mut().zip(db.iter_mut()))) {
            *dx = (x - mean) * r;
            *dw += g * *dx;
            *db += g;
        }
        let mean_g = sum2(g, w, |g, w| g * w) * scale;
        // dx holds x̂ at this point.
        let mean_gx = sum3(dx, g, w, |x, g, w| x * g * w) * scale;
        dx.iter_mut().zip(g.iter().zip(w)).for_each(|(dx, (g, w))| *dx = r * (g * w - mean_g - *dx * mean_gx));
    }
}

impl LayerNormOp {
    fn forward(&self, x: &[f32], w: &[f32], b: &[f32]) -> Vec<f32> {
        let size = rows_per_piece(w.len()) * w.len();
        let mut y = vec![0.0; x.len()];
        run(y.chunks_mut(size).zip(x.chunks(size)), |(y, x)| normalise(y, x, w, b, self.eps));
        y
    }

    /// Returns dx, dw and db.
    fn backward(&self, x: &[f32], w: &[f32], grad: &[f32]) -> [Vec<f32>; 3] {
        let width = w.len();
        let size = rows_per_piece(width) * width;
        let mut dx = vec![0.0; x.len()];
        let parts = run(dx.chunks_mut(size).zip(x.chunks(size)).zip(grad.chunks(size)), |((dx, x), g)| {
            let mut dw = vec![0.0; width];
            let mut db = vec![0.0; width];
            gradients(dx, x, g, w, [&mut dw, &mut db], self.eps);
            (dw, db)
        });
        let mut dw = vec![0.0; width];
        let mut db = vec![0.0; width];
        for (part_w, part_b) in &parts {
            dw.iter_mut().zip(part_w).for_each(|(dw, part)| *dw += part);
            db.iter_mut().zip(part_b).for_each(|(db, part)| *db += part);
        }
        [dx, dw, db]
    }
}

impl LayerNorm {
    /// Normalises `x` `[.., H]` over its last dimension.
    ///
    /// # Errors
    /// The last dimension is not `H`.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        layer_norm(x, &self.weight, &self.bias, self.eps)
    }

    fn op(&self) -> LayerNormOp {
        LayerNormOp { eps: self.eps as f32 }
    }

    /// Normalises rows `[M, H]` in host memory, outside of any graph.
    pub(super) fn rows(&self, x: &[f32]) -> Result<Vec<f32>> {
        let weight = Host::new(&self.weight)?;
        let bias = Host::new(&self.bias)?;
        Ok(self.op().forward(x, weight.values()?, bias.values()?))
    }

    /// Returns dx of rows and pushes the gradients of weight and bias.
    pub(super) fn rows_backward(&self, x: &[f32], grad: &[f32]) -> Result<Vec<f32>> {
        let [dx, dw, db] = self.op().backward(x, Host::new(&self.weight)?.values()?, grad);
        push_grad(&self.weight, dw)?;
        push_grad(&self.bias, db)?;
        Ok(dx)
    }
}

impl CustomOp3 for LayerNormOp {
    fn name(&self) -> &'static str {
        "layer norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        layout: &Layout,
        w: &CpuStorage,
        lw: &Layout,
        b: &CpuStorage,
        lb: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let x = values(x, layout)?;
        let w = values(w, lw)?;
        let b = values(b, lb)?;
        let width = layout.shape().dim(D::Minus1)?;
        if w.len() != width || b.len() != width || width == 0 {
            candle_core::bail!("layer norm of {:?} with {} weights and {} biases", layout.shape(), w.len(), b.len());
        }
        Ok((CpuStorage::F32(self.forward(x, w, b)), layout.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let grad = grad.contiguous()?;
        let [dx, dw, db] =
            self.backward(Host::new(x)?.values()?, Host::new(weight)?.values()?, Host::new(&grad)?.values()?);
        Ok((push_or_return(x, dx)?, push_or_return(weight, dw)?, push_or_return(bias, db)?))
    }
}
