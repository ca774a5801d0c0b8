//! Softmax over the last dimension: y = e^(x - max) / Σ e^(x - max), dx = y (g - Σ g y).

use candle_core::{CpuStorage, CustomOp1, CustomOp2, D, Layout, Result, Shape, Tensor};

use super::maths::{exp, max, sum, sum2};
use super::{Host, fused, rows_per_piece, run, values};

/// `[.., N]` to `[.., N]`.
///
/// # Errors
/// A tensor without dimensions.
pub fn softmax(x: &Tensor) -> Result<Tensor> {
    if fused(x) { x.contiguous()?.apply_op1(Softmax) } else { candle_nn::ops::softmax(x, D::Minus1) }
}

/// Softmax over the last dimension of `scores` `[B, heads, T, S]` + `bias` `[B, 1, 1, S]`; the bias is a constant, as a
/// padding mask is: it gets no gradient.
///
/// # Errors
/// Shapes that do not fit.
pub fn masked_softmax(scores: &Tensor, bias: &Tensor) -> Result<Tensor> {
    let (batch, _, _, keys) = scores.dims4()?;
    if fused(scores) && fused(bias) && bias.dims() == [batch, 1, 1, keys] {
        return scores.contiguous()?.apply_op2(&bias.contiguous()?.detach(), Softmax);
    }
    candle_nn::ops::softmax(&scores.broadcast_add(&bias.detach())?, D::Minus1)
}

struct Softmax;

/// Softmax of each row of `x` plus, for each `share` consecutive rows, one row of `bias`.
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
            if let Some((bias, share)) = bias {
                let row = (piece * rows + n) / share;
                y.iter_mut().zip(&bias[row * width..]).for_each(|(y, bias)| *y += bias);
            }
            let top = max(y);
            y.iter_mut().for_each(|y| *y = exp(*y - top));
            let scale = 1.0 / sum(y, |y| y);
            y.iter_mut().for_each(|y| *y *= scale);
        }
    });
    y
}

fn backward(y: &Tensor, grad: &Tensor) -> Result<Tensor> {
    let (width, grad) = (y.dim(D::Minus1)?, grad.contiguous()?);
    let (held, grad) = (Host::new(y)?, Host::new(&grad)?);
    let (values, grad) = (held.values()?, grad.values()?);
    let mut result = vec![0.0; values.len()];
    let size = (rows_per_piece(width) * width).max(1);
    run(result.chunks_mut(size).zip(values.chunks(size)).zip(grad.chunks(size)), |((dx, y), g)| {
        for ((dx, y), g) in dx.chunks_exact_mut(width).zip(y.chunks_exact(width)).zip(g.chunks_exact(width)) {
            let dot = sum2(y, g, |y, g| y * g);
            dx.iter_mut().zip(y).zip(g).for_each(|((dx, y), g)| *dx = y * (g - dot));
        }
    });
    Tensor::from_vec(result, y.shape(), y.device())
}

impl CustomOp1 for Softmax {
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

impl CustomOp2 for Softmax {
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
