//! Splits and merges attention heads, `[B, T, H]` to `[B, heads, T, H / heads]` and back, in one copy, and multiplies A
//! Bᵀ without copying B.

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Result, Shape, Tensor};

use super::dispatch::fused;
use super::host::{Host, values};
use super::threads::run;

/// Returns `x` `[B, T, H]` times `scale` as a contiguous `[B, heads, T, H / heads]`.
///
/// # Errors
/// `H` is not a multiple of `heads`.
pub fn split_heads(x: &Tensor, heads: usize, scale: f64) -> Result<Tensor> {
    let (rows, pieces, size) = x.dims3()?;
    if heads == 0 || !size.is_multiple_of(heads) {
        candle_core::bail!("{size} states cannot be split into {heads} heads");
    }
    if fused(x) && x.elem_count() > 0 {
        return x.contiguous()?.apply_op1(SwapAxesOp {
            outer: pieces,
            inner: heads,
            width: size / heads,
            scale: scale as f32,
        });
    }
    let split = x.reshape((rows, pieces, heads, size / heads))?.transpose(1, 2)?.contiguous()?;
    if scale == 1.0 { Ok(split) } else { split * scale }
}

/// Returns `x` `[B, heads, T, D]` as a contiguous `[B, T, heads · D]`.
///
/// # Errors
/// The tensor has another rank.
pub fn merge_heads(x: &Tensor) -> Result<Tensor> {
    let (rows, heads, pieces, width) = x.dims4()?;
    let merged = if fused(x) && x.elem_count() > 0 {
        x.contiguous()?.apply_op1(SwapAxesOp { outer: heads, inner: pieces, width, scale: 1.0 })?
    } else {
        x.transpose(1, 2)?.contiguous()?
    };
    merged.reshape((rows, pieces, heads * width))
}

/// Returns `a` `[B, heads, T, D]` times the transpose of `b` `[B, heads, S, D]`, `[B, heads, T, S]`.
///
/// # Errors
/// The shapes do not match.
pub fn matmul_transposed(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    if fused(a) && fused(b) {
        return a.contiguous()?.apply_op2(&b.contiguous()?, MatmulTransposedOp);
    }
    a.matmul(&b.transpose(2, 3)?.contiguous()?)
}

/// Turns `[.., outer, inner, width]` into `[.., inner, outer, width]`, times `scale`.
struct SwapAxesOp {
    outer: usize,
    inner: usize,
    width: usize,
    scale: f32,
}

impl SwapAxesOp {
    fn apply(&self, x: &[f32]) -> Vec<f32> {
        let mut y = vec![0.0; x.len()];
        let size = self.outer * self.inner * self.width;
        run(y.chunks_mut(size).zip(x.chunks(size)), |(y, x)| {
            for (n, y) in y.chunks_exact_mut(self.width).enumerate() {
                let inner = n / self.outer;
                let outer = n % self.outer;
                let x = &x[(outer * self.inner + inner) * self.width..];
                y.iter_mut().zip(x).for_each(|(y, x)| *y = x * self.scale);
            }
        });
        y
    }
}

impl CustomOp1 for SwapAxesOp {
    fn name(&self) -> &'static str {
        "swap heads"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let rows = layout.dims()[0];
        let shape = Shape::from((rows, self.inner, self.outer, self.width));
        Ok((CpuStorage::F32(self.apply(values(x, layout)?)), shape))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let back = Self { outer: self.inner, inner: self.outer, ..*self };
        let grad = grad.contiguous()?;
        let grad = Host::new(&grad)?;
        Tensor::from_vec(back.apply(grad.values()?), x.shape(), x.device()).map(Some)
    }
}

struct MatmulTransposedOp;

impl CustomOp2 for MatmulTransposedOp {
    fn name(&self) -> &'static str {
        "matmul transposed"
    }

    fn cpu_fwd(&self, a: &CpuStorage, la: &Layout, b: &CpuStorage, lb: &Layout) -> Result<(CpuStorage, Shape)> {
        let (rows, heads, t, d) = la.shape().dims4()?;
        let (rows_b, heads_b, s, d_b) = lb.shape().dims4()?;
        if (rows, heads, d) != (rows_b, heads_b, d_b) {
            candle_core::bail!("{:?} times the transpose of {:?}", la.shape(), lb.shape());
        }
        let product = a.matmul(b, (rows * heads, t, s, d), la, &lb.transpose(2, 3)?)?;
        Ok((product, (rows, heads, t, s).into()))
    }

    fn bwd(&self, a: &Tensor, b: &Tensor, _: &Tensor, grad: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let grad = grad.contiguous()?;
        let da = grad.matmul(&b.detach())?;
        let db = grad.transpose(2, 3)?.matmul(&a.detach())?;
        Ok((Some(da), Some(db)))
    }
}
