//! Linear layers: y = x Wᵀ + b; dx = g W, dW = gᵀ x, db = Σ g over the rows.

use candle_core::{CpuStorage, CustomOp2, CustomOp3, D, Layout, Result, Shape, Tensor};
use candle_nn::Module;
use macro_rules_attribute::apply;

use super::dispatch::fused;
use super::gemm::{Matrix, product};
use super::host::{Host, values};
use super::layers::Linear;
use super::param_grads::push_or_return;
use super::threads::{rows_per_piece, run};
use crate::simd::vectorised;

/// Returns x Wᵀ + b `[.., N]` of `x` `[.., K]`, `weight` `[N, K]` and `bias` `[N]`.
///
/// # Errors
/// The shapes do not match.
pub fn linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    if !fused(x) || !fused(weight) || bias.is_some_and(|bias| !fused(bias)) {
        let bias = bias.map(|bias| bias.to_dtype(x.dtype())).transpose()?;
        return candle_nn::Linear::new(weight.to_dtype(x.dtype())?, bias).forward(x);
    }
    let x = x.contiguous()?;
    let weight = weight.contiguous()?;
    match bias {
        Some(bias) => x.apply_op3(&weight, &bias.contiguous()?, LinearOp),
        None => x.apply_op2(&weight, LinearOp),
    }
}

impl Linear {
    /// Maps `x` `[.., K]` to `[.., N]`.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        linear(x, self.weight(), self.bias())
    }
}

/// The node of the graph, with a bias as its third input or without.
struct LinearOp;

/// Returns x Wᵀ, without bias, and its shape `[.., N]`.
fn linear_product(x: &CpuStorage, lx: &Layout, w: &CpuStorage, lw: &Layout) -> Result<(Vec<f32>, Shape)> {
    let (outputs, inputs) = lw.shape().dims2()?;
    let Some((last, leading)) = lx.dims().split_last().filter(|(last, _)| **last == inputs) else {
        candle_core::bail!("a linear layer of shape {:?} got a tensor of shape {:?}", lw.shape(), lx.shape());
    };
    let y = product(Matrix::new(values(x, lx)?, *last), Matrix::new(values(w, lw)?, inputs).t());
    Ok((y, [leading, &[outputs]].concat().into()))
}

/// Adds the bias to each row.
pub(super) fn add_bias(rows: &mut [f32], bias: &[f32]) {
    run(rows.chunks_mut(rows_per_piece(bias.len()) * bias.len().max(1)), |rows| add_to_rows(rows, bias));
}

/// Adds the bias to each row, on this thread.
#[apply(vectorised)]
pub(super) fn add_to_rows(rows: &mut [f32], bias: &[f32]) {
    rows.chunks_exact_mut(bias.len()).for_each(|row| row.iter_mut().zip(bias).for_each(|(y, b)| *y += b));
}

/// Adds each row of `rows` to the sums, on this thread.
#[apply(vectorised)]
pub(super) fn add_up(sums: &mut [f32], rows: &[f32]) {
    rows.chunks_exact(sums.len()).for_each(|row| sums.iter_mut().zip(row).for_each(|(sum, g)| *sum += g));
}

/// Returns the column sums of rows of `width` values.
pub(super) fn column_sums(rows: &[f32], width: usize) -> Vec<f32> {
    let parts = run(rows.chunks(rows_per_piece(width) * width.max(1)), |rows| {
        let mut sums = vec![0.0; width];
        add_up(&mut sums, rows);
        sums
    });
    let mut sums = vec![0.0; width];
    parts.iter().for_each(|part| add_up(&mut sums, part));
    sums
}

/// Returns dx and dW from g; constants have none.
fn backward(x: &Tensor, weight: &Tensor, grad: &[f32]) -> Result<(Option<Tensor>, Option<Tensor>)> {
    let (outputs, inputs) = weight.dims2()?;
    let g = Matrix::new(grad, outputs);
    let dx = if x.track_op() {
        push_or_return(x, product(g, Matrix::new(Host::new(weight)?.values()?, inputs)))?
    } else {
        None
    };
    let dw = if weight.track_op() {
        push_or_return(weight, product(g.t(), Matrix::new(Host::new(x)?.values()?, inputs)))?
    } else {
        None
    };
    Ok((dx, dw))
}

impl CustomOp2 for LinearOp {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu_fwd(&self, x: &CpuStorage, lx: &Layout, w: &CpuStorage, lw: &Layout) -> Result<(CpuStorage, Shape)> {
        let (y, shape) = linear_product(x, lx, w, lw)?;
        Ok((CpuStorage::F32(y), shape))
    }

    fn bwd(&self, x: &Tensor, weight: &Tensor, _: &Tensor, grad: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        backward(x, weight, Host::new(&grad.contiguous()?)?.values()?)
    }
}

impl CustomOp3 for LinearOp {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        lx: &Layout,
        w: &CpuStorage,
        lw: &Layout,
        b: &CpuStorage,
        lb: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (mut y, shape) = linear_product(x, lx, w, lw)?;
        let bias = values(b, lb)?;
        let width = shape.dim(D::Minus1)?;
        if bias.len() != width {
            candle_core::bail!("a linear layer with {width} outputs and {} biases", bias.len());
        }
        add_bias(&mut y, bias);
        Ok((CpuStorage::F32(y), shape))
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
        let grad = Host::new(&grad)?;
        let (dx, dw) = backward(x, weight, grad.values()?)?;
        Ok((dx, dw, push_or_return(bias, column_sums(grad.values()?, bias.elem_count()))?))
    }
}
