//! Softmax over the last dimension: y = e^(x - max) / Σ e^(x - max), dx = y (g - Σ g y).

use candle_core::{CpuStorage, CustomOp1, CustomOp2, D, Layout, Result, Shape, Tensor};
use macro_rules_attribute::apply;

use super::dispatch::fused;
#[cfg(feature = "cuda")]
use super::dispatch::on_gpu;
use super::host::{Host, values};
use super::maths::{exp, max, sum, sum2};
use super::threads::{rows_per_piece, run};
use crate::simd::vectorised;

/// Returns the softmax of `x` over its last dimension.
///
/// # Errors
/// The tensor has no dimensions.
pub fn softmax(x: &Tensor) -> Result<Tensor> {
    if fused(x) {
        return x.contiguous()?.apply_op1(SoftmaxOp);
    }
    #[cfg(feature = "cuda")]
    if on_gpu(x) {
        return super::cuda::softmax(x, None);
    }
    candle_nn::ops::softmax(x, D::Minus1)
}

/// Returns the softmax over the last dimension of `scores` `[B, heads, T, S]` + `bias` `[B, 1, 1, S]`. The bias is a
/// constant, such as a padding mask, and gets no gradient.
///
/// # Errors
/// The shapes do not match.
pub fn masked_softmax(scores: &Tensor, bias: &Tensor) -> Result<Tensor> {
    let (batch, _, _, keys) = scores.dims4()?;
    let by_row = bias.dims() == [batch, 1, 1, keys];
    if by_row && fused(scores) && fused(bias) {
        return scores.contiguous()?.apply_op2(&bias.contiguous()?.detach(), SoftmaxOp);
    }
    #[cfg(feature = "cuda")]
    if by_row && on_gpu(scores) && bias.dtype() == candle_core::DType::F32 {
        return super::cuda::softmax(scores, Some((bias, scores.elem_count() / bias.elem_count())));
    }
    candle_nn::ops::softmax(&scores.broadcast_add(&bias.detach().to_dtype(scores.dtype())?)?, D::Minus1)
}

/// The node of the graph, with a bias as its second input or without.
struct SoftmaxOp;

/// Returns the softmax of each row of `x` plus, for each `share` consecutive rows, one row of `bias`.
fn forward(x: &[f32], width: usize, bias: Option<(&[f32], usize)>) -> Vec<f32> {
    let rows = rows_per_piece(width);
    let mut y = vec![0.0; x.len()];
    if width == 0 {
        return y;
    }
    let pieces = y.chunks_mut(rows * width).zip(x.chunks(rows * width)).enumerate();
    run(pieces, |(piece, (y, x))| {
        for (n, (y, x)) in y.chunks_exact_mut(width).zip(x.chunks_exact(width)).enumerate() {
            y.copy_from_slice(x);
            let row = bias.map(|(bias, share)| &bias[(piece * rows + n) / share * width..][..width]);
            softmax_rows(y, width, row.unwrap_or_default());
        }
    });
    y
}

/// Replaces each row by the softmax of row + `bias`; an empty bias adds nothing.
#[apply(vectorised)]
pub(super) fn softmax_rows(rows: &mut [f32], width: usize, bias: &[f32]) {
    for x in rows.chunks_exact_mut(width) {
        x.iter_mut().zip(bias).for_each(|(x, bias)| *x += bias);
        let top = max(x);
        x.iter_mut().for_each(|x| *x = exp(*x - top));
        let scale = 1.0 / sum(x, |x| x);
        x.iter_mut().for_each(|x| *x *= scale);
    }
}

/// Replaces g by dx, from rows y. Gradients are taken relative to that of the largest y: where y is nearly 1, rounding
/// would otherwise leave only noise of the difference g - Σ g y.
#[apply(vectorised)]
pub(super) fn softmax_gradients(grads: &mut [f32], rows: &[f32], width: usize) {
    for (grad, y) in grads.chunks_exact_mut(width).zip(rows.chunks_exact(width)) {
        let top = max(y);
        let at = y.iter().position(|y| *y == top).map_or(0.0, |at| grad[at]);
        let dot = sum2(y, grad, |y, g| y * (g - at));
        grad.iter_mut().zip(y).for_each(|(g, y)| *g = y * ((*g - at) - dot));
    }
}

fn backward(y: &Tensor, grad: &Tensor) -> Result<Tensor> {
    let width = y.dim(D::Minus1)?;
    let grad = grad.contiguous()?;
    let grad = Host::new(&grad)?;
    let grad = grad.values()?;
    let held = Host::new(y)?;
    let values = held.values()?;
    let mut result = grad.to_vec();
    let size = (rows_per_piece(width) * width).max(1);
    run(result.chunks_mut(size).zip(values.chunks(size)), |(dx, y)| softmax_gradients(dx, y, width.max(1)));
    Tensor::from_vec(result, y.shape(), y.device())
}

impl CustomOp1 for SoftmaxOp {
    fn name(&self) -> &'static str {
        "softmax"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let width = layout.shape().dim(D::Minus1)?;
        Ok((CpuStorage::F32(forward(values(x, layout)?, width, None)), layout.shape().clone()))
    }

    fn bwd(&self, _: &Tensor, y: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        backward(y, grad).map(Some)
    }
}

impl CustomOp2 for SoftmaxOp {
    fn name(&self) -> &'static str {
        "masked softmax"
    }

    fn cpu_fwd(&self, x: &CpuStorage, l: &Layout, bias: &CpuStorage, lb: &Layout) -> Result<(CpuStorage, Shape)> {
        let (_, heads, queries, width) = l.shape().dims4()?;
        let y = forward(values(x, l)?, width, Some((values(bias, lb)?, heads * queries)));
        Ok((CpuStorage::F32(y), l.shape().clone()))
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, y: &Tensor, grad: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        Ok((Some(backward(y, grad)?), None))
    }
}
