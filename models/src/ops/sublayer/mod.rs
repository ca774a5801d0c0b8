//! Half an encoder layer as one operation, with a backward pass by hand.
//!
//! ```text
//! after (BERT):   r = x + drop(F(x) Woᵀ + bo),   y = norm(r)
//! before (CLIP):  y = x + drop(F(norm(x)) Woᵀ + bo)
//! ```
//! F is attention (`attention`) or the wide half of the feed-forward part (`feed_forward`); both say what they keep.
//! Kept besides: r (`after`), `[M, H]`, M = B · T rows. With `before`, norm(x) is computed again.
//!
//! Backward, from g = ∂L/∂y: `after` dr = norm'(r, g), `before` dr = g; do = drop(dr), dWo = doᵀ F, dbo = Σ do,
//! dF = do Wo, dh by F; dx = dr + dh, or with `before` dr + norm'(x, dh).
//!
//! What is kept is freed by the backward pass, which therefore runs once. The same layer made of smaller
//! operations is in `crate::layer`; `ops::composed` runs it from candle's own, and tests compare both.

mod attention;
mod feed_forward;
mod keys;
mod side;

use std::sync::{Mutex, PoisonError};

use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Result, Shape, Tensor};

use super::dropout::{Mask, dropout};
use super::gemm::{Matrix, add_product, product};
use super::linear::{add_to_rows, column_sums};
use super::{Host, leaves, rows_per_piece, run};
use crate::linear::Linear;
use crate::norm::LayerNorm;
pub(crate) use attention::AttentionParts;
pub(crate) use feed_forward::FeedForwardParts;
pub(crate) use keys::{Keys, SharedKey};
pub(crate) use side::Side;

/// Where the norm stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// Before F, as in CLIP.
    Before,
    /// After the sum, as in BERT.
    After,
}

/// What surrounds F.
#[derive(Clone)]
pub(crate) struct Residual {
    pub output: Linear,
    pub norm: LayerNorm,
    pub order: Order,
}

impl Residual {
    /// F's input, composed.
    pub fn open(&self, x: &Tensor) -> Result<Tensor> {
        match self.order {
            Order::Before => self.norm.forward(x),
            Order::After => Ok(x.clone()),
        }
    }

    /// The result from F, composed.
    pub fn close(&self, x: &Tensor, f: &Tensor, mask: Option<Mask>) -> Result<Tensor> {
        let out = self.output.forward(f)?;
        let sum = (x + mask.map_or_else(|| Ok(out.clone()), |mask| dropout(&out, mask))?)?;
        match self.order {
            Order::Before => Ok(sum),
            Order::After => self.norm.forward(&sum),
        }
    }
}

#[cfg(feature = "cuda")]
use super::cuda::DeviceInner as Placed;
/// What F needs on a GPU: nothing without one.
#[cfg(not(feature = "cuda"))]
pub(crate) trait Placed {}
#[cfg(not(feature = "cuda"))]
impl<F> Placed for F {}

/// F of `M` rows of `H`, with what its backward pass needs.
pub(crate) trait Inner: Placed + Send + Sync + Sized + 'static {
    type Kept: Send;

    /// The rows that Wo reads, and what is kept, from `x` `[M, H]`.
    fn forward(&self, x: &[f32]) -> Result<(Vec<f32>, Self::Kept)>;

    /// Keeps F itself, if [`Self::rebuild`] wants it.
    fn keep(_kept: &mut Self::Kept, _f: Vec<f32>) {}

    /// F again from what is kept; `grad` ∂L/∂F becomes what [`Self::gradients`] wants.
    fn rebuild(&self, kept: &mut Self::Kept, grad: &mut [f32]) -> Result<Vec<f32>>;

    /// Hands over the gradients of F's own variables; adds ∂L/∂x to `dx`.
    fn gradients(&self, x: &[f32], kept: Self::Kept, grad: Vec<f32>, dx: Option<Vec<f32>>) -> Result<Gradients>;

    /// Another tensor of the graph that F reads.
    fn second_input(&self) -> Option<&Tensor> {
        None
    }

    /// Layers whose gradients go past candle.
    fn layers(&self) -> Vec<&Linear>;

    /// Other variables whose gradients do.
    fn variables(&self) -> Vec<&Tensor> {
        Vec::new()
    }
}

/// Gradients that candle carries on.
pub(crate) struct Gradients {
    /// ∂L/∂x.
    pub x: Vec<f32>,
    /// That of the second input, if F has one.
    pub second: Option<Vec<f32>>,
}

/// Gradients of a linear layer from g `[M, N]` and its input `[M, K]`: dW = gᵀ x and db = Σ g are handed over, g W is
/// added to `dx` `[M, K]`.
fn linear_gradients(layer: &Linear, grad: &[f32], input: &[f32], dx: Option<Vec<f32>>) -> Result<Vec<f32>> {
    let (outputs, inputs) = layer.weight().dims2()?;
    let g = Matrix::new(grad, outputs);
    leaves::keep(layer.weight(), product(g.t(), Matrix::new(input, inputs)))?;
    if let Some(bias) = layer.bias() {
        leaves::keep(bias, column_sums(grad, outputs))?;
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

/// x Wᵀ, without the bias.
fn linear_product(layer: &Linear, x: &[f32]) -> Result<Vec<f32>> {
    let weight = Host::new(layer.weight())?;
    let inputs = layer.weight().dim(1)?;
    Ok(product(Matrix::new(x, inputs), Matrix::new(weight.values()?, inputs).t()))
}

/// The bias of a layer, zeros if it has none.
fn bias_of(layer: &Linear) -> Result<Vec<f32>> {
    layer.bias().map_or_else(|| Ok(vec![0.0; layer.weight().dim(0)?]), |bias| Ok(Host::new(bias)?.values()?.to_vec()))
}

/// What the backward pass needs.
struct Saved<K> {
    inner: K,
    /// r, where the norm stands after.
    sum: Option<Vec<f32>>,
}

struct Sublayer<F: Inner> {
    inner: F,
    residual: Residual,
    mask: Option<Mask>,
    saved: Mutex<Option<Saved<F::Kept>>>,
    /// Until the graph has it.
    result: Mutex<Option<Vec<f32>>>,
}

/// Runs a sublayer on `x` `[B, T, H]`; None where the composition has to.
pub(crate) fn sublayer<F: Inner>(
    x: &Tensor,
    inner: F,
    residual: &Residual,
    mask: Option<Mask>,
) -> Result<Option<Tensor>> {
    let leaf = |layer: &Linear| leaves::is_leaf(layer.weight()) && layer.bias().is_none_or(leaves::is_leaf);
    let leaves = inner.layers().into_iter().chain([&residual.output]).all(leaf)
        && inner.variables().into_iter().all(leaves::is_leaf);
    if !x.track_op() || !leaves || !residual.norm.are_leaves() || x.elem_count() == 0 {
        return Ok(None);
    }
    if x.dims3()?.2 != residual.norm.width() {
        candle_core::bail!("a layer on states of size {} got a tensor of shape {:?}", residual.norm.width(), x.shape());
    }
    #[cfg(feature = "cuda")]
    if super::cuda::takes(x) && inner.fits(x)? {
        return super::cuda::sublayer(&x.contiguous()?, inner, residual, mask).map(Some);
    }
    if !super::fused(x) {
        return Ok(None);
    }
    let x = x.contiguous()?;
    let (y, saved) = forward(Host::new(&x)?.values()?, &inner, residual, mask)?;
    let (saved, result) = (Mutex::new(Some(saved)), Mutex::new(Some(y)));
    let (residual, second) = (residual.clone(), inner.second_input().map(Tensor::contiguous).transpose()?);
    let sublayer = Sublayer { inner, residual, mask, saved, result };
    match second {
        Some(second) => x.apply_op2(&second, sublayer).map(Some),
        None => x.apply_op1(sublayer).map(Some),
    }
}

fn forward<F: Inner>(
    x: &[f32],
    inner: &F,
    residual: &Residual,
    mask: Option<Mask>,
) -> Result<(Vec<f32>, Saved<F::Kept>)> {
    let Residual { output, norm, order } = residual;
    let before = (*order == Order::Before).then(|| norm.rows(x)).transpose()?;
    let (f, mut kept) = inner.forward(before.as_deref().unwrap_or(x))?;
    let mut sum = linear_product(output, &f)?;
    F::keep(&mut kept, f);
    let (bias, width) = (bias_of(output)?, norm.width());
    let size = rows_per_piece(width) * width;
    run(sum.chunks_mut(size).zip(x.chunks(size)).enumerate(), |(piece, (sum, x))| {
        add_to_rows(sum, &bias);
        if let Some(mask) = mask {
            mask.apply(piece * size, sum);
        }
        sum.iter_mut().zip(x).for_each(|(sum, x)| *sum += x);
    });
    Ok(match order {
        Order::Before => (sum, Saved { inner: kept, sum: None }),
        Order::After => (norm.rows(&sum)?, Saved { inner: kept, sum: Some(sum) }),
    })
}

impl<F: Inner> Sublayer<F> {
    /// Gradients of the inputs from g.
    fn backward(&self, x: &[f32], grad: &[f32]) -> Result<Gradients> {
        let Residual { output, norm, .. } = &self.residual;
        let saved = self.saved.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Saved { inner: mut kept, sum }) = saved else {
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
        leaves::keep(output.weight(), product(Matrix::new(d_out, norm.width()).t(), Matrix::new(&f, width)))?;
        drop((weight, f));
        if let Some(bias) = output.bias() {
            leaves::keep(bias, column_sums(d_out, norm.width()))?;
        }
        drop(masked);
        match after {
            Some(dr) => self.inner.gradients(x, kept, d_inner, Some(dr)),
            None => {
                let inner = self.inner.gradients(&norm.rows(x)?, kept, d_inner, None)?;
                let mut dx = norm.rows_backward(x, &inner.x)?;
                run(dx.chunks_mut(super::PIECE).zip(grad.chunks(super::PIECE)), |(dx, g)| {
                    dx.iter_mut().zip(g).for_each(|(dx, g)| *dx += g);
                });
                Ok(Gradients { x: dx, ..inner })
            }
        }
    }
}

impl<F: Inner> Sublayer<F> {
    fn take(&self, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let result = self.result.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(y) = result else { candle_core::bail!("a sublayer is applied once") };
        Ok((CpuStorage::F32(y), layout.shape().clone()))
    }

    fn input_gradients(&self, x: &Tensor, grad: &Tensor) -> Result<Gradients> {
        let grad = grad.contiguous()?;
        self.backward(Host::new(x)?.values()?, Host::new(&grad)?.values()?)
    }
}

impl<F: Inner> CustomOp1 for Sublayer<F> {
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

impl<F: Inner> CustomOp2 for Sublayer<F> {
    fn name(&self) -> &'static str {
        "sublayer of two inputs"
    }

    fn cpu_fwd(&self, _: &CpuStorage, layout: &Layout, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        self.take(layout)
    }

    fn bwd(&self, x: &Tensor, second: &Tensor, _: &Tensor, grad: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let grads = self.input_gradients(x, grad)?;
        let of_second = grads.second.map(|grad| Tensor::from_vec(grad, second.shape(), second.device())).transpose()?;
        Ok((Some(Tensor::from_vec(grads.x, x.shape(), x.device())?), of_second))
    }
}
