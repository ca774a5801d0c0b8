//! Half an encoder layer on a GPU. Formulas are in `ops::sublayer` and its two inner parts. Weights are f32, and
//! products and states have the type of `x`, so weights are converted to it once per forward pass.

use std::sync::{Mutex, PoisonError};

use candle_core::{CpuStorage, CudaStorage, CustomOp1, CustomOp2, DType, Layout, Result, Shape, Tensor, bail};

use super::launch::{
    Arg, Launch, column_sums, device, empty, gpu_only, kernel_name, launch, mask_args, optional_arg, output_arg,
    storage, tensor_arg,
};
use super::nodes::dropped;
use super::norm::{NormBackward, layer_norm};
use crate::ops::activation::Gelu;
use crate::ops::layers::{FeedForwardPart, InnerPart, LayerNorm, Linear, Order, Residual};
use crate::ops::mask::DropoutMask;
use crate::ops::param_grads::push_grad;

/// F of `M` rows of `H` on a GPU.
pub(crate) trait GpuPart: InnerPart {
    /// Returns whether the kernels can compute F of states `[B, T, H]` like `x`.
    fn supports(&self, x: &Tensor) -> Result<bool>;

    /// Returns F of `x` `[M, H]`, and what the backward pass needs.
    fn gpu_forward(&self, x: &Tensor) -> Result<(Tensor, GpuKept)>;

    /// Returns F again, and gradients, from ∂L/∂F.
    fn gpu_backward(&self, kept: &GpuKept, grad: &Tensor) -> Result<GpuGrads>;
}

/// What the backward pass computes inside of a sublayer.
pub(crate) struct GpuGrads {
    /// F, computed again from what was kept, `[M, H]`.
    pub f: Tensor,
    /// Gradient of the products of F's layers, `[M, N]`.
    pub product: Tensor,
    /// Gradient of the second input, if F has one, in its order of values.
    pub second: Option<Tensor>,
}

/// What F stores for its backward pass.
pub(crate) struct GpuKept {
    /// x Wᵀ of all layers of F side by side, without biases, `[M, N]`.
    pub product: Tensor,
    /// Weights of the layers, `[N, K]`, in the type of the states.
    weight: Tensor,
    /// Biases of the layers, `[N]` f32.
    pub bias: Tensor,
    /// Maps and F, if F is attention.
    pub attention: Option<[Tensor; 2]>,
}

/// Joins weights or biases of up to three layers, one after another, and converts them to `dtype`.
fn stacked(parts: &[&Tensor], dtype: DType) -> Result<Tensor> {
    let first = parts[0];
    let each = first.elem_count();
    let mut dims = first.dims().to_vec();
    dims[0] *= parts.len();
    let y = empty(first, dims, dtype)?;
    let part = |n: usize| tensor_arg(parts.get(n).copied().unwrap_or(first), DType::F32, each);
    let to = tensor_arg(&y, dtype, parts.len() * each);
    let arguments = [part(0), part(1), part(2), to, Arg::U64(each as u64), Arg::U64(y.elem_count() as u64)];
    launch(&device(first)?, &kernel_name("stack", dtype), &Launch::values(y.elem_count()), &arguments)?;
    Ok(y)
}

/// Converts the result of a product to f32.
fn widened(x: &Tensor) -> Result<Tensor> {
    if x.dtype() == DType::F32 {
        return Ok(x.clone());
    }
    let count = x.elem_count();
    let y = empty(x, x.shape(), DType::F32)?;
    let arguments = [tensor_arg(x, DType::BF16, count), tensor_arg(&y, DType::F32, count), Arg::U64(count as u64)];
    launch(&device(x)?, "widen", &Launch::values(count.div_ceil(4)), &arguments)?;
    Ok(y)
}

/// Computes x Wᵀ of layers that have biases, with one product for all of them.
pub(super) fn products(layers: &[&Linear], x: &Tensor) -> Result<GpuKept> {
    let weights: Vec<&Tensor> = layers.iter().map(|layer| layer.weight()).collect();
    let biases: Vec<&Tensor> = layers.iter().filter_map(|layer| layer.bias()).collect();
    let weight = stacked(&weights, x.dtype())?;
    Ok(GpuKept { product: x.matmul(&weight.t()?)?, bias: stacked(&biases, DType::F32)?, weight, attention: None })
}

/// Pushes the gradients of layers, from the gradient of their product, `[M, N]`, and their input, `[M, K]`.
fn push_layer_grads(layers: &[&Linear], grad: &Tensor, input: &Tensor) -> Result<()> {
    let weights = widened(&grad.t()?.matmul(input)?)?;
    let biases = column_sums(grad)?;
    let mut at = 0;
    for layer in layers {
        let rows = layer.weight().dim(0)?;
        push_grad(layer.weight(), weights.narrow(0, at, rows)?)?;
        if let Some(bias) = layer.bias() {
            push_grad(bias, biases.narrow(0, at, rows)?)?;
        }
        at += rows;
    }
    Ok(())
}

impl GpuPart for FeedForwardPart {
    fn supports(&self, _: &Tensor) -> Result<bool> {
        Ok(self.up.bias().is_some())
    }

    fn gpu_forward(&self, x: &Tensor) -> Result<(Tensor, GpuKept)> {
        let kept = products(&[&self.up], x)?;
        let f = empty(x, kept.product.shape(), x.dtype())?;
        let (rows, width) = kept.product.dims2()?;
        let dtype = x.dtype();
        let [product, output] = [&kept.product, &f].map(|x| tensor_arg(x, dtype, rows * width));
        let extra = self.extra.as_ref().map(Tensor::contiguous).transpose()?;
        let extra = optional_arg(extra.as_ref(), dtype, rows * width);
        let tensors = [product, tensor_arg(&kept.bias, DType::F32, width), extra, output];
        let arguments: Vec<Arg> = tensors.into_iter().chain(self.counts(&kept.product)?).collect();
        launch(&device(x)?, &kernel_name("gelu_forward", x.dtype()), &Launch::values(f.elem_count()), &arguments)?;
        Ok((f, kept))
    }

    fn gpu_backward(&self, kept: &GpuKept, grad: &Tensor) -> Result<GpuGrads> {
        let a = &kept.product;
        let da = empty(a, a.shape(), a.dtype())?;
        let f = empty(a, a.shape(), a.dtype())?;
        let bias = tensor_arg(&kept.bias, DType::F32, a.dim(1)?);
        let extra = self.extra.as_ref().map(Tensor::contiguous).transpose()?;
        let extra_arg = optional_arg(extra.as_ref(), a.dtype(), a.elem_count());
        let [product, grad, to_da, to_f] = [a, grad, &da, &f].map(|x| tensor_arg(x, a.dtype(), a.elem_count()));
        let tensors = [product, bias, extra_arg, grad, to_da, to_f];
        let arguments: Vec<Arg> = tensors.into_iter().chain(self.counts(a)?).collect();
        launch(&device(a)?, &kernel_name("gelu_backward", a.dtype()), &Launch::values(a.elem_count()), &arguments)?;
        Ok(GpuGrads { f, second: extra.map(|_| da.clone()), product: da })
    }
}

impl FeedForwardPart {
    /// Returns the sizes and the form of GELU that both kernels take.
    fn counts(&self, a: &Tensor) -> Result<[Arg; 3]> {
        let kind = match self.activation {
            Gelu::Erf => 0,
            Gelu::Tanh => 1,
            Gelu::Quick => 2,
        };
        Ok([Arg::U64(a.elem_count() as u64), a.dim(1)?.into(), Arg::I32(kind)])
    }
}

/// What the forward pass stores for the backward pass.
struct GpuSaved {
    inner: GpuKept,
    /// Wo in the type of the states.
    output: Tensor,
    /// The sum r, if the norm follows it.
    sum: Option<Tensor>,
}

/// The node of the graph.
struct GpuSublayerOp<F> {
    /// The input without its graph, `[M, H]`.
    x: Tensor,
    inner: F,
    residual: Residual,
    mask: Option<DropoutMask>,
    saved: Mutex<Option<GpuSaved>>,
}

/// Runs a sublayer on contiguous `x` `[B, T, H]`.
pub(in crate::ops) fn sublayer<F: GpuPart>(
    x: &Tensor,
    inner: F,
    residual: &Residual,
    mask: Option<DropoutMask>,
) -> Result<Tensor> {
    let rows = x.detach().reshape(((), residual.norm.weight.elem_count()))?;
    let second = inner.second_input().map(Tensor::contiguous).transpose()?;
    let node = GpuSublayerOp { x: rows, inner, residual: residual.clone(), mask, saved: Mutex::new(None) };
    match second {
        Some(second) => x.apply_op2(&second, node),
        None => x.apply_op1(node),
    }
}

/// Pushes the gradients of a norm's weight and bias.
fn push_norm_grads(norm: &LayerNorm, backward: &NormBackward<'_>) -> Result<()> {
    let [dw, db] = backward.variables()?;
    push_grad(&norm.weight, dw)?;
    push_grad(&norm.bias, db)
}

impl<F: GpuPart> GpuSublayerOp<F> {
    /// Returns the input of F: norm(x) if the norm stands before, or x.
    fn opened(&self) -> Result<Tensor> {
        let Residual { norm, order, .. } = &self.residual;
        match order {
            Order::Before => layer_norm(&self.x, &norm.weight.detach(), &norm.bias.detach(), norm.eps),
            Order::After => Ok(self.x.clone()),
        }
    }

    fn forward(&self) -> Result<(CudaStorage, GpuSaved)> {
        let x = &self.x;
        let Residual { output, norm, order } = &self.residual;
        let (rows, width) = x.dims2()?;
        let on = device(x)?;
        let (f, inner) = self.inner.gpu_forward(&self.opened()?)?;
        let weight = stacked(&[output.weight()], x.dtype())?;
        let out = f.matmul(&weight.t()?)?;
        let y = storage(&on, rows * width, x.dtype())?;
        let sum = match order {
            Order::Before => None,
            Order::After => Some(empty(x, x.shape(), x.dtype())?),
        };
        let dtype = x.dtype();
        let count = rows * width;
        let (to_sum, to_y) = match &sum {
            Some(sum) => (tensor_arg(sum, dtype, count), output_arg(&y, dtype, count)),
            None => (output_arg(&y, dtype, count), Arg::At(0)),
        };
        let [key, threshold, scale] = mask_args(self.mask);
        let arguments = [
            tensor_arg(x, dtype, count),
            tensor_arg(&out, dtype, count),
            optional_arg(output.bias(), DType::F32, width),
            to_sum,
            tensor_arg(&norm.weight, DType::F32, width),
            tensor_arg(&norm.bias, DType::F32, width),
            to_y,
            width.into(),
            Arg::F32(norm.eps as f32),
            key,
            threshold,
            scale,
        ];
        launch(&on, &kernel_name("close_forward", x.dtype()), &Launch::rows(rows, width), &arguments)?;
        Ok((y, GpuSaved { inner, output: weight, sum }))
    }

    /// Pushes the gradients of all variables and returns dx, from g, both `[M, H]`, and the gradient of the second input.
    fn backward(&self, grad: &Tensor) -> Result<(Tensor, Option<Tensor>)> {
        let Residual { output, norm, .. } = &self.residual;
        let saved = self.saved.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(GpuSaved { inner: kept, output: weight, sum }) = saved else {
            bail!("a backward pass ran through this graph before; compute the loss again")
        };
        let eps = norm.eps as f32;
        let after = match &sum {
            Some(sum) => {
                let end = NormBackward::new(sum, grad, None, &norm.weight, eps, self.mask)?;
                push_norm_grads(norm, &end)?;
                Some((end.dx, end.dropped))
            }
            None => None,
        };
        let d_out = match &after {
            Some((_, dropped)) => dropped.clone(),
            None => dropped(grad, self.mask)?,
        };
        let GpuGrads { f, product: d_inner, second } = self.inner.gpu_backward(&kept, &d_out.matmul(&weight)?)?;
        push_layer_grads(&[output], &d_out, &f)?;
        let input = self.opened()?;
        push_layer_grads(&self.inner.layers(), &d_inner, &input)?;
        let dh = d_inner.matmul(&kept.weight)?;
        match after {
            Some((dr, _)) => Ok(((dr + dh)?, second)),
            None => {
                let start = NormBackward::new(&self.x, &dh, Some(grad), &norm.weight, eps, None)?;
                push_norm_grads(norm, &start)?;
                Ok((start.dx, second))
            }
        }
    }

    /// Keeps what the backward pass needs and returns the result, which has the layout of x.
    fn run(&self, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        let (y, saved) = self.forward()?;
        *self.saved.lock().unwrap_or_else(PoisonError::into_inner) = Some(saved);
        Ok((y, layout.shape().clone()))
    }

    /// Returns the gradients of x, in its shape, and of the second input.
    fn input_gradients(&self, x: &Tensor, grad: &Tensor) -> Result<(Tensor, Option<Tensor>)> {
        let grad = grad.contiguous()?.detach().reshape(self.x.shape())?;
        let (dx, second) = self.backward(&grad)?;
        Ok((dx.reshape(x.shape())?, second))
    }
}

impl<F: GpuPart> CustomOp1 for GpuSublayerOp<F> {
    gpu_only!("sublayer", x lx);

    fn cuda_fwd(&self, _: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        self.run(layout)
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some(self.input_gradients(x, grad)?.0))
    }
}

impl<F: GpuPart> CustomOp2 for GpuSublayerOp<F> {
    gpu_only!("sublayer of two inputs", x lx, second ls);

    fn cuda_fwd(&self, _: &CudaStorage, layout: &Layout, _: &CudaStorage, _: &Layout) -> Result<(CudaStorage, Shape)> {
        self.run(layout)
    }

    fn bwd(&self, x: &Tensor, second: &Tensor, _: &Tensor, grad: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (dx, second_grad) = self.input_gradients(x, grad)?;
        Ok((Some(dx), second_grad.map(|grad| grad.reshape(second.shape())).transpose()?))
    }
}
