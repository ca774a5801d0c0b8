//! y = x Wᵀ + b; dx = g W, dW = gᵀ x, db = Σ g over the rows. The three products are candle's.

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp2, CustomOp3, D, Layout, Result, Shape, Tensor};
use candle_nn::Module;

use super::{Host, fused, rows_per_piece, run, values};

/// `x` `[.., K]`, `weight` `[N, K]`, `bias` `[N]` to `[.., N]`.
///
/// # Errors
/// Shapes that do not fit.
pub fn linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    if !fused(x) || !fused(weight) || bias.is_some_and(|bias| !fused(bias)) {
        return candle_nn::Linear::new(weight.clone(), bias.cloned()).forward(x);
    }
    let (x, weight) = (x.contiguous()?, weight.contiguous()?);
    match bias {
        Some(bias) => x.apply_op3(&weight, &bias.contiguous()?, Linear),
        None => x.apply_op2(&weight, Linear),
    }
}

struct Linear;

/// `[.., N]`, without bias.
fn product(x: &CpuStorage, lx: &Layout, w: &CpuStorage, lw: &Layout) -> Result<(CpuStorage, Shape)> {
    let (outputs, inputs) = lw.shape().dims2()?;
    let mut shape = lx.dims().to_vec();
    if shape.last() != Some(&inputs) {
        candle_core::bail!("a linear layer of shape {:?} got a tensor of shape {:?}", lw.shape(), lx.shape());
    }
    let rows = lx.shape().elem_count() / inputs.max(1);
    let flat = Layout::contiguous_with_offset((rows, inputs), lx.start_offset());
    let y = x.matmul(w, (1, rows, outputs, inputs), &flat, &lw.transpose(0, 1)?)?;
    shape.pop();
    shape.push(outputs);
    Ok((y, shape.into()))
}

/// dx and dW from g as a matrix; a constant gets none.
fn backward(x: &Tensor, weight: &Tensor, grad: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
    let flat = x.detach().reshape(((), x.dim(D::Minus1)?))?;
    let dx = x.track_op().then(|| grad.matmul(&weight.detach())?.reshape(x.shape())).transpose()?;
    let dw = weight.track_op().then(|| grad.t()?.matmul(&flat)).transpose()?;
    Ok((dx, dw))
}

fn matrix(grad: &Tensor) -> Result<Tensor> {
    grad.contiguous()?.detach().reshape(((), grad.dim(D::Minus1)?))
}

/// Sums of the columns of `grad` `[M, N]`.
fn column_sums(grad: &Tensor) -> Result<Tensor> {
    let width = grad.dim(1)?;
    let held = Host::new(grad)?;
    let parts = run(held.values()?.chunks(rows_per_piece(width) * width.max(1)), |rows| {
        let mut sums = vec![0.0; width];
        rows.chunks_exact(width).for_each(|row| sums.iter_mut().zip(row).for_each(|(sum, g)| *sum += g));
        sums
    });
    let mut sums = vec![0.0; width];
    parts.iter().for_each(|part| sums.iter_mut().zip(part).for_each(|(sum, part)| *sum += part));
    Tensor::from_vec(sums, width, grad.device())
}

impl CustomOp2 for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu_fwd(&self, x: &CpuStorage, lx: &Layout, w: &CpuStorage, lw: &Layout) -> Result<(CpuStorage, Shape)> {
        product(x, lx, w, lw)
    }

    fn bwd(&self, x: &Tensor, weight: &Tensor, _: &Tensor, grad: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        backward(x, weight, &matrix(grad)?)
    }
}

impl CustomOp3 for Linear {
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
        let (mut y, shape) = product(x, lx, w, lw)?;
        let bias = values(b, lb)?;
        let width = shape.dim(D::Minus1)?;
        if let CpuStorage::F32(y) = &mut y {
            if bias.len() != width {
                candle_core::bail!("a linear layer with {width} outputs and {} biases", bias.len());
            }
            run(y.chunks_mut(rows_per_piece(width) * width.max(1)), |rows| {
                rows.chunks_exact_mut(width).for_each(|row| row.iter_mut().zip(bias).for_each(|(y, b)| *y += b));
            });
        }
        Ok((y, shape))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let grad = matrix(grad)?;
        let (dx, dw) = backward(x, weight, &grad)?;
        Ok((dx, dw, bias.track_op().then(|| column_sums(&grad)).transpose()?))
    }
}
