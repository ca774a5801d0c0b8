//! Half an encoder layer on a GPU: formulas in `ops::sublayer` and beside its two inner parts. Weights are f32; products
//! and states are of the type of `x`, so weights are copied to it once per forward pass.

use std::sync::{Mutex, PoisonError};

use candle_core::{CpuStorage, CudaStorage, CustomOp1, DType, Layout, Result, Shape, Tensor, bail};

use super::layers::{NormBackward, dropped};
use super::{Arg, Mask, Shape3, column_sums, device, empty, form, given, given_some, launch, made, mask, storage};
use crate::linear::Linear;
use crate::ops::activation::Gelu;
use crate::ops::leaves;
use crate::ops::sublayer::{FeedForwardParts, Inner, Order, Residual};

/// F (see [`Inner`]) on a GPU.
pub(crate) trait DeviceInner: Send + Sync + 'static {
    /// Whether the kernels can do it on states like these.
    fn fits(&self, x: &Tensor) -> Result<bool>;

    /// F of `x` `[M, H]`, and what the backward pass needs.
    fn device_forward(&self, x: &Tensor) -> Result<(Tensor, DeviceKept)>;

    /// F again, and the gradient of its products' result, from ∂L/∂F.
    fn device_backward(&self, kept: &DeviceKept, grad: &Tensor) -> Result<(Tensor, Tensor)>;
}

/// What F's backward pass needs.
pub(crate) struct DeviceKept {
    /// x Wᵀ of all its layers side by side, without biases, `[M, N]`.
    pub product: Tensor,
    /// Their weights `[N, K]`, in the type of the states.
    weight: Tensor,
    /// Their biases, `[N]` f32.
    pub bias: Tensor,
    /// Maps and F of attention.
    pub attention: Option<[Tensor; 2]>,
}

/// Weights or biases of up to three layers, one after another, in another number type.
fn stacked(parts: &[&Tensor], dtype: DType) -> Result<Tensor> {
    let (first, each) = (parts[0], parts[0].elem_count());
    let mut dims = first.dims().to_vec();
    dims[0] *= parts.len();
    let y = empty(first, dims, dtype)?;
    let part = |n: usize| given(parts.get(n).copied().unwrap_or(first), DType::F32, each);
    let to = given(&y, dtype, parts.len() * each);
    let arguments = [part(0), part(1), part(2), to, Arg::U64(each as u64), Arg::U64(y.elem_count() as u64)];
    launch(&device(first)?, &form("stack", dtype), &Shape3::values(y.elem_count()), &arguments)?;
    Ok(y)
}

/// x Wᵀ of layers with biases, with copies of both.
pub(super) fn products(layers: &[&Linear], x: &Tensor) -> Result<DeviceKept> {
    let weights: Vec<&Tensor> = layers.iter().map(|layer| layer.weight()).collect();
    let biases: Vec<&Tensor> = layers.iter().filter_map(|layer| layer.bias()).collect();
    let weight = stacked(&weights, x.dtype())?;
    Ok(DeviceKept { product: x.matmul(&weight.t()?)?, bias: stacked(&biases, DType::F32)?, weight, attention: None })
}

/// Hands over the gradients of layers from that of their product, `[M, N]`, and their input, `[M, K]`.
fn hand_over(layers: &[&Linear], grad: &Tensor, input: &Tensor) -> Result<()> {
    let weights = grad.t()?.matmul(input)?.to_dtype(DType::F32)?;
    let biases = column_sums(grad)?;
    let mut at = 0;
    for layer in layers {
        let rows = layer.weight().dim(0)?;
        leaves::keep_tensor(layer.weight(), weights.narrow(0, at, rows)?)?;
        if let Some(bias) = layer.bias() {
            leaves::keep_tensor(bias, biases.narrow(0, at, rows)?)?;
        }
        at += rows;
    }
    Ok(())
}

impl DeviceInner for FeedForwardParts {
    fn fits(&self, _: &Tensor) -> Result<bool> {
        Ok(self.up.bias().is_some() && self.extra.is_none())
    }

    fn device_forward(&self, x: &Tensor) -> Result<(Tensor, DeviceKept)> {
        let kept = products(&[&self.up], x)?;
        let f = empty(x, kept.product.shape(), x.dtype())?;
        let ((rows, width), dtype) = (kept.product.dims2()?, x.dtype());
        let [product, made] = [&kept.product, &f].map(|x| given(x, dtype, rows * width));
        let tensors = [product, given(&kept.bias, DType::F32, width), made];
        let arguments: Vec<Arg> = tensors.into_iter().chain(self.counts(&kept.product)?).collect();
        launch(&device(x)?, &form("gelu_forward", x.dtype()), &Shape3::values(f.elem_count()), &arguments)?;
        Ok((f, kept))
    }

    fn device_backward(&self, kept: &DeviceKept, grad: &Tensor) -> Result<(Tensor, Tensor)> {
        let a = &kept.product;
        let (da, f) = (empty(a, a.shape(), a.dtype())?, empty(a, a.shape(), a.dtype())?);
        let bias = given(&kept.bias, DType::F32, a.dim(1)?);
        let [product, grad, to_da, to_f] = [a, grad, &da, &f].map(|x| given(x, a.dtype(), a.elem_count()));
        let tensors = [product, bias, grad, to_da, to_f];
        let arguments: Vec<Arg> = tensors.into_iter().chain(self.counts(a)?).collect();
        launch(&device(a)?, &form("gelu_backward", a.dtype()), &Shape3::values(a.elem_count()), &arguments)?;
        Ok((f, da))
    }
}

impl FeedForwardParts {
    fn counts(&self, a: &Tensor) -> Result<[Arg; 3]> {
        let kind = match self.activation {
            Gelu::Erf => 0,
            Gelu::Tanh => 1,
            Gelu::Quick => 2,
        };
        Ok([Arg::U64(a.elem_count() as u64), a.dim(1)?.into(), Arg::I32(kind)])
    }
}

/// What the backward pass needs.
struct Saved {
    inner: DeviceKept,
    /// Wo in the type of the states.
    output: Tensor,
    /// r, where the norm stands after.
    sum: Option<Tensor>,
}

struct DeviceSublayer<F> {
    /// The input without its graph, `[M, H]`.
    x: Tensor,
    inner: F,
    residual: Residual,
    mask: Option<Mask>,
    saved: Mutex<Option<Saved>>,
}

/// Runs a sublayer on contiguous `x` `[B, T, H]`.
pub(in crate::ops) fn sublayer<F: Inner>(
    x: &Tensor,
    inner: F,
    residual: &Residual,
    mask: Option<Mask>,
) -> Result<Tensor> {
    let rows = x.detach().reshape(((), residual.norm.weight.elem_count()))?;
    let (residual, saved) = (residual.clone(), Mutex::new(None));
    x.apply_op1(DeviceSublayer { x: rows, inner, residual, mask, saved })
}

impl<F: Inner> DeviceSublayer<F> {
    /// norm(x), where the norm stands before.
    fn opened(&self) -> Result<Tensor> {
        let Residual { norm, order, .. } = &self.residual;
        match order {
            Order::Before => super::layer_norm(&self.x, &norm.weight.detach(), &norm.bias.detach(), norm.eps),
            Order::After => Ok(self.x.clone()),
        }
    }

    fn forward(&self) -> Result<(CudaStorage, Saved)> {
        let (x, Residual { output, norm, order }) = (&self.x, &self.residual);
        let ((rows, width), on) = (x.dims2()?, device(x)?);
        let (f, inner) = self.inner.device_forward(&self.opened()?)?;
        let weight = stacked(&[output.weight()], x.dtype())?;
        let out = f.matmul(&weight.t()?)?;
        let y = storage(&on, rows * width, x.dtype())?;
        let sum = match order {
            Order::Before => None,
            Order::After => Some(empty(x, x.shape(), x.dtype())?),
        };
        let (dtype, count) = (x.dtype(), rows * width);
        let (to_sum, to_y) = match &sum {
            Some(sum) => (given(sum, dtype, count), made(&y, dtype, count)),
            None => (made(&y, dtype, count), Arg::At(0)),
        };
        let [key, threshold, scale] = mask(self.mask);
        let arguments = [
            given(x, dtype, count),
            given(&out, dtype, count),
            given_some(output.bias(), DType::F32, width),
            to_sum,
            given(&norm.weight, DType::F32, width),
            given(&norm.bias, DType::F32, width),
            to_y,
            width.into(),
            Arg::F32(norm.eps as f32),
            key,
            threshold,
            scale,
        ];
        launch(&on, &form("close_forward", x.dtype()), &Shape3::rows(rows, width), &arguments)?;
        Ok((y, Saved { inner, output: weight, sum }))
    }

    /// dx from g, both `[M, H]`.
    fn backward(&self, grad: &Tensor) -> Result<Tensor> {
        let Residual { output, norm, .. } = &self.residual;
        let saved = self.saved.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Saved { inner: kept, output: weight, sum }) = saved else {
            bail!("a backward pass ran through this graph before; compute the loss again")
        };
        let eps = norm.eps as f32;
        let after = match &sum {
            Some(sum) => {
                let end = NormBackward::new(sum, grad, None, &norm.weight, eps, self.mask)?;
                norm.keep_tensors(end.variables()?)?;
                Some((end.dx, end.dropped))
            }
            None => None,
        };
        let d_out = match &after {
            Some((_, dropped)) => dropped.clone(),
            None => dropped(grad, self.mask)?,
        };
        let (f, d_inner) = self.inner.device_backward(&kept, &d_out.matmul(&weight)?)?;
        hand_over(&[output], &d_out, &f)?;
        let input = self.opened()?;
        hand_over(&self.inner.layers(), &d_inner, &input)?;
        let dh = d_inner.matmul(&kept.weight)?;
        match after {
            Some((dr, _)) => dr + dh,
            None => {
                let start = NormBackward::new(&self.x, &dh, Some(grad), &norm.weight, eps, None)?;
                norm.keep_tensors(start.variables()?)?;
                Ok(start.dx)
            }
        }
    }
}

impl<F: Inner> CustomOp1 for DeviceSublayer<F> {
    fn name(&self) -> &'static str {
        "sublayer"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        bail!("a sublayer by kernels needs a tensor on a GPU")
    }

    fn cuda_fwd(&self, _: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        let (y, saved) = self.forward()?;
        *self.saved.lock().unwrap_or_else(PoisonError::into_inner) = Some(saved);
        Ok((y, layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let grad = grad.contiguous()?.detach().reshape(self.x.shape())?;
        self.backward(&grad)?.reshape(x.shape()).map(Some)
    }
}
