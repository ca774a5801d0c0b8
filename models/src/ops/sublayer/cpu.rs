//! Half an encoder layer on the CPU: one node of the graph, with its backward pass by hand. Formulas are in the module
//! above; the inner parts are in `attention` and `feed_forward`.

use std::sync::{Mutex, PoisonError};

use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Result, Shape, Tensor};

use crate::ops::gemm::{Matrix, add_product, product};
use crate::ops::host::Host;
use crate::ops::layers::{InnerPart, Linear, Order, Residual};
use crate::ops::linear::{add_to_rows, column_sums};
use crate::ops::mask::DropoutMask;
use crate::ops::param_grads::push_grad;
use crate::ops::threads::{PIECE, rows_per_piece, run};

/// F of `M` rows of `H` in host memory.
pub(crate) trait CpuPart: InnerPart {
    /// What the forward pass stores for the backward pass.
    type Kept: Send;

    /// Returns the rows that Wo reads, and what is kept, from `x` `[M, H]`.
    fn forward(&self, x: &[f32]) -> Result<(Vec<f32>, Self::Kept)>;

    /// Keeps F itself, if [`Self::rebuild`] needs it.
    fn keep_output(_kept: &mut Self::Kept, _f: Vec<f32>) {}

    /// Returns F again from what is kept, and turns ∂L/∂F in `grad` into what [`Self::gradients`] takes.
    fn rebuild(&self, kept: &mut Self::Kept, grad: &mut [f32]) -> Result<Vec<f32>>;

    /// Pushes the gradients of F's variables and adds ∂L/∂x to `dx`.
    fn gradients(&self, x: &[f32], kept: Self::Kept, grad: Vec<f32>, dx: Option<Vec<f32>>) -> Result<InputGrads>;
}

/// Gradients of the inputs, which candle propagates.
pub(crate) struct InputGrads {
    /// Gradient of the first input, ∂L/∂x.
    pub x: Vec<f32>,
    /// Gradient of the second input, if F has one.
    pub second: Option<Vec<f32>>,
}

/// Pushes the gradients of a linear layer, dW = gᵀ x and db = Σ g, from g `[M, N]` and its input `[M, K]`, and adds g W
/// to `dx` `[M, K]`.
pub(super) fn linear_gradients(layer: &Linear, grad: &[f32], input: &[f32], dx: Option<Vec<f32>>) -> Result<Vec<f32>> {
    let (outputs, inputs) = layer.weight().dims2()?;
    let g = Matrix::new(grad, outputs);
    push_grad(layer.weight(), product(g.t(), Matrix::new(input, inputs)))?;
    if let Some(bias) = layer.bias() {
        push_grad(bias, column_sums(grad, outputs))?;
    }
    let weight = Host::new(layer.weight())?;
    let weight = Matrix::new(weight.values()?, inputs);
    match dx {
        Some(mut dx) => {
            add_product(&mut dx, g, weight);
            Ok(dx)
        }
        None => Ok(product(g, weight)),
    }
}

/// Returns x Wᵀ, without the bias.
pub(super) fn linear_product(layer: &Linear, x: &[f32]) -> Result<Vec<f32>> {
    let weight = Host::new(layer.weight())?;
    let inputs = layer.weight().dim(1)?;
    Ok(product(Matrix::new(x, inputs), Matrix::new(weight.values()?, inputs).t()))
}

/// Returns the bias of a layer, or zeros if it has none.
pub(super) fn bias_or_zeros(layer: &Linear) -> Result<Vec<f32>> {
    layer.bias().map_or_else(|| Ok(vec![0.0; layer.weight().dim(0)?]), |bias| Ok(Host::new(bias)?.values()?.to_vec()))
}

/// What the forward pass stores for the backward pass.
struct CpuSaved<K> {
    inner: K,
    /// The sum r, if the norm follows it.
    sum: Option<Vec<f32>>,
}

/// The node of the graph.
struct CpuSublayerOp<F: CpuPart> {
    inner: F,
    residual: Residual,
    mask: Option<DropoutMask>,
    saved: Mutex<Option<CpuSaved<F::Kept>>>,
    /// The result, until the graph takes it.
    result: Mutex<Option<Vec<f32>>>,
}

/// Runs a sublayer on contiguous `x` `[B, T, H]`.
pub(super) fn sublayer<F: CpuPart>(
    x: &Tensor,
    inner: F,
    residual: &Residual,
    mask: Option<DropoutMask>,
) -> Result<Tensor> {
    let (y, saved) = forward(Host::new(x)?.values()?, &inner, residual, mask)?;
    let second = inner.second_input().map(Tensor::contiguous).transpose()?;
    let saved = Mutex::new(Some(saved));
    let result = Mutex::new(Some(y));
    let node = CpuSublayerOp { inner, residual: residual.clone(), mask, saved, result };
    match second {
        Some(second) => x.apply_op2(&second, node),
        None => x.apply_op1(node),
    }
}

fn forward<F: CpuPart>(
    x: &[f32],
    inner: &F,
    residual: &Residual,
    mask: Option<DropoutMask>,
) -> Result<(Vec<f32>, CpuSaved<F::Kept>)> {
    let Residual { output, norm, order } = residual;
    let before = (*order == Order::Before).then(|| norm.rows(x)).transpose()?;
    let (f, mut kept) = inner.forward(before.as_deref().unwrap_or(x))?;
    let mut sum = linear_product(output, &f)?;
    F::keep_output(&mut kept, f);
    let bias = bias_or_zeros(output)?;
    let width = norm.width();
    let size = rows_per_piece(width) * width;
    run(sum.chunks_mut(size).zip(x.chunks(size)).enumerate(), |(piece, (sum, x))| {
        add_to_rows(sum, &bias);
        if let Some(mask) = mask {
            mask.apply(piece * size, sum);
        }
        sum.iter_mut().zip(x).for_each(|(sum, x)| *sum += x);
    });
    Ok(match order {
        Order::Before => (sum, CpuSaved { inner: kept, sum: None }),
        Order::After => (norm.rows(&sum)?, CpuSaved { inner: kept, sum: Some(sum) }),
    })
}

impl<F: CpuPart> CpuSublayerOp<F> {
    /// Pushes the gradients of all variables and returns those of the inputs, from g.
    fn backward(&self, x: &[f32], grad: &[f32]) -> Result<InputGrads> {
        let Residual { output, norm, .. } = &self.residual;
        let saved = self.saved.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(CpuSaved { inner: mut kept, sum }) = saved else {
            candle_core::bail!("a backward pass ran through this graph before; compute the loss again")
        };
        let after = sum.map(|sum| norm.rows_backward(&sum, grad)).transpose()?;
        let dr = after.as_deref().unwrap_or(grad);
        let masked = self.mask.map(|mask| mask.masked(dr));
        let d_out = masked.as_deref().unwrap_or(dr);
        let weight = Host::new(output.weight())?;
        let width = output.weight().dim(1)?;
        let mut d_inner = product(Matrix::new(d_out, norm.width()), Matrix::new(weight.values()?, width));
        let f = self.inner.rebuild(&mut kept, &mut d_inner)?;
        push_grad(output.weight(), product(Matrix::new(d_out, norm.width()).t(), Matrix::new(&f, width)))?;
        drop(weight);
        drop(f);
        if let Some(bias) = output.bias() {
            push_grad(bias, column_sums(d_out, norm.width()))?;
        }
        drop(masked);
        match after {
            Some(dr) => self.inner.gradients(x, kept, d_inner, Some(dr)),
            None => {
                let inner = self.inner.gradients(&norm.rows(x)?, kept, d_inner, None)?;
                let mut dx = norm.rows_backward(x, &inner.x)?;
                run(dx.chunks_mut(PIECE).zip(grad.chunks(PIECE)), |(dx, g)| {
                    dx.iter_mut().zip(g).for_each(|(dx, g)| *dx += g);
                });
                Ok(InputGrads { x: dx, ..inner })
            }
        }
    }

    /// Hands the result, which was computed before the node was made, to the graph.
    fn take(&self, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let result = self.result.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(y) = result else { candle_core::bail!("a sublayer is applied once") };
        Ok((CpuStorage::F32(y), layout.shape().clone()))
    }

    fn input_gradients(&self, x: &Tensor, grad: &Tensor) -> Result<InputGrads> {
        let grad = grad.contiguous()?;
        self.backward(Host::new(x)?.values()?, Host::new(&grad)?.values()?)
    }
}

impl<F: CpuPart> CustomOp1 for CpuSublayerOp<F> {
    fn name(&self) -> &'static str {
        "sublayer"
    }

    fn cpu_fwd(&self, _: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        self.take(layout)
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        Tensor::from_vec(self.input_gradients(x, grad)?.x, x.shape(), x.device()).map(Some)
    }
}

impl<F: CpuPart> CustomOp2 for CpuSublayerOp<F> {
    fn name(&self) -> &'static str {
        "sublayer of two inputs"
    }

    fn cpu_fwd(&self, _: &CpuStorage, layout: &Layout, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        self.take(layout)
    }

    fn bwd(&self, x: &Tensor, second: &Tensor, _: &Tensor, grad: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let grads = self.input_gradients(x, grad)?;
        let second_grad =
            grads.second.map(|grad| Tensor::from_vec(grad, second.shape(), second.device())).transpose()?;
        Ok((Some(Tensor::from_vec(grads.x, x.shape(), x.device())?), second_grad))
    }
}
