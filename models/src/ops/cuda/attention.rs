//! Attention as the inner part of a sublayer on a GPU. Formulas are in `ops::sublayer::attention` and
//! `models/kernels/attention.cu`.

use candle_core::{DType, Device, Result, Storage, Tensor, bail};

use super::launch::{
    Arg, Launch, device, empty, kernel_name, launch, mask_args, max_shared_memory, optional_arg, output_arg, storage,
    tensor_arg,
};
use super::sublayer::{GpuKept, GpuPart, products};
use crate::ops::layers::{AttentionPart, InnerPart, Keys, SharedKey};
use crate::ops::param_grads::push_grad;
use crate::ops::side::SideResult;

/// Longest rows that a block can attend over (`LONGEST` in attention.cu).
const LONGEST: usize = 128;
/// Warps of a block of attention (`WARPS` in attention.cu).
const WARPS: usize = 8;

impl AttentionPart {
    /// Returns length, head size, the launch of a block per head and row, and the sizes that both kernels take.
    fn block(&self, states: usize) -> (usize, usize, Launch, [Arg; 7]) {
        let width = self.query.weight().dims()[0];
        let length = states / self.rows;
        let size = width / self.heads;
        let grid = (self.heads as u32, self.rows as u32);
        let shape = Launch { grid, threads: 32 * WARPS as u32, shared: 0 };
        let [key, threshold, keep] = mask_args(self.mask);
        let scale = Arg::F32((size as f32).sqrt().recip());
        (length, size, shape, [self.heads.into(), length.into(), size.into(), scale, key, threshold, keep])
    }

    /// Returns the arguments of learned keys and their bias, or zeros if keys are projected.
    fn learned_arguments(&self, length: usize) -> Result<[Arg; 5]> {
        let Keys::Shared(shared) = &self.keys else {
            return Ok([Arg::At(0), Arg::I32(0), Arg::At(0), Arg::I32(0), Arg::F32(0.0)]);
        };
        shared.check(length)?;
        let keys = shared.keys()?;
        let longest = shared.bias.dim(1)?;
        let size = self.query.weight().dim(0)? / self.heads;
        let key = tensor_arg(&shared.key, DType::F32, self.heads * keys * size);
        let bias = tensor_arg(&shared.bias, DType::F32, self.heads * longest * longest);
        Ok([key, keys.into(), bias, longest.into(), Arg::F32(shared.bias_scale as f32)])
    }
}

/// Returns the bytes of shared memory that a block of the backward pass needs. The forward pass needs less for heads of
/// up to 128.
fn backward_memory(length: usize, size: usize, dtype: DType) -> u32 {
    let matrices = dtype.size_in_bytes() * 2 * length * (length + 1);
    (4 * (2 * length * (size + 1) + WARPS * size) + matrices) as u32
}

/// Bytes of shared memory that a block of attention needs, and that a GPU has.
pub(crate) struct AttentionMemory {
    pub needed: u32,
    pub available: u32,
}

/// Compares the shared memory that attention over `length` positions in heads of `size` needs with that of a GPU.
///
/// # Errors
/// The device is not a GPU.
pub(crate) fn attention_memory(gpu: &Device, length: usize, size: usize, dtype: DType) -> Result<AttentionMemory> {
    let available = max_shared_memory(gpu.as_cuda_device()?)?;
    Ok(AttentionMemory { needed: backward_memory(length, size, dtype), available })
}

impl GpuPart for AttentionPart {
    fn supports(&self, x: &Tensor) -> Result<bool> {
        let (_, length, width) = x.dims3()?;
        let biases = self.layers().iter().all(|layer| layer.bias().is_some());
        let memory = attention_memory(x.device(), length, width / self.heads, x.dtype())?;
        Ok(biases && length <= LONGEST && memory.needed <= memory.available)
    }

    fn gpu_forward(&self, x: &Tensor) -> Result<(Tensor, GpuKept)> {
        let mut kept = products(&self.layers(), x)?;
        let (length, size, mut shape, counts) = self.block(x.dim(0)?);
        let f = empty(x, x.shape(), x.dtype())?;
        let map_shape = (self.rows, self.heads, length, length);
        let maps = empty(x, map_shape, x.dtype())?;
        let logits = self.logits.as_ref().map(|_| storage(&device(x)?, maps.elem_count(), x.dtype())).transpose()?;
        shape.shared = 4 * (2 * length * (size + 1) + WARPS * (size + LONGEST)) as u32;
        let padding = self.padding.as_ref().map(Tensor::contiguous).transpose()?;
        let states = x.elem_count();
        let map = maps.elem_count();
        let dtype = x.dtype();
        let tensors = [
            tensor_arg(&kept.product, dtype, self.layers().len() * states),
            tensor_arg(&kept.bias, DType::F32, self.layers().len() * self.heads * size),
            optional_arg(padding.as_ref(), DType::F32, self.rows * length),
            tensor_arg(&f, dtype, states),
            tensor_arg(&maps, dtype, map),
            logits.as_ref().map_or(Arg::At(0), |logits| output_arg(logits, dtype, map)),
        ];
        let arguments: Vec<Arg> = tensors.into_iter().chain(self.learned_arguments(length)?).chain(counts).collect();
        launch(&device(x)?, &kernel_name("attention_forward", x.dtype()), &shape, &arguments)?;
        if let (Some(side), Some(logits)) = (&self.logits, logits) {
            side.put(Storage::Cuda(logits), map_shape);
        }
        kept.attention = Some([maps, f.clone()]);
        Ok((f, kept))
    }

    fn gpu_backward(&self, kept: &GpuKept, grad: &Tensor) -> Result<(Tensor, Tensor)> {
        let Some([maps, f]) = &kept.attention else { bail!("attention kept no maps") };
        let (length, size, mut shape, counts) = self.block(grad.dim(0)?);
        let grads = empty(grad, kept.product.shape(), grad.dtype())?;
        let logit_grad = self.logits.as_ref().map(SideResult::grad).transpose()?.flatten();
        let key_grad = match &self.keys {
            Keys::Projected(_) => None,
            Keys::Shared(_) => Some(empty(grad, grad.shape(), DType::F32)?),
        };
        shape.shared = backward_memory(length, size, grad.dtype());
        let states = grad.elem_count();
        let dtype = grad.dtype();
        let map = self.rows * self.heads * length * length;
        let tensors = [
            tensor_arg(&kept.product, dtype, self.layers().len() * states),
            tensor_arg(&kept.bias, DType::F32, self.layers().len() * self.heads * size),
            tensor_arg(maps, dtype, map),
            tensor_arg(grad, dtype, states),
            tensor_arg(&grads, dtype, self.layers().len() * states),
            optional_arg(logit_grad.as_ref(), dtype, map),
            optional_arg(key_grad.as_ref(), DType::F32, states),
        ];
        let arguments = tensors.into_iter().chain(self.learned_arguments(length)?).chain(counts);
        let arguments: Vec<Arg> = arguments.collect();
        launch(&device(grad)?, &kernel_name("attention_backward", grad.dtype()), &shape, &arguments)?;
        if let (Keys::Shared(shared), Some(key_grad)) = (&self.keys, key_grad) {
            shared.push_tensor_grads(self.rows, length, &key_grad, maps)?;
        }
        Ok((f.clone(), grads))
    }
}

/// Where the values of a learned tensor `[.., tall, wide]` are in what each row adds to it: `[down, across]` values,
/// lines `line` apart and leading indices `plane` apart.
struct RowStrides {
    rows: usize,
    tall: usize,
    wide: usize,
    down: usize,
    across: usize,
    plane: usize,
    line: usize,
}

/// Pushes the gradient of a learned tensor, summed over what each row of `x` adds to it.
fn push_row_sums(variable: &Tensor, x: &Tensor, layout: &RowStrides, scale: f64) -> Result<()> {
    let y = empty(x, variable.shape(), DType::F32)?;
    let sizes = [layout.tall, layout.wide, layout.down, layout.across].map(Arg::from);
    let steps = [layout.plane, layout.line].map(|step| Arg::U64(step as u64));
    let stride = Arg::U64((x.elem_count() / layout.rows) as u64);
    let count = y.elem_count();
    let input = tensor_arg(x, x.dtype(), x.elem_count());
    let output = tensor_arg(&y, DType::F32, count);
    let start = [input, output, Arg::U64(count as u64), layout.rows.into(), stride];
    let arguments = start.into_iter().chain(sizes).chain(steps).chain([Arg::F32(scale as f32)]);
    let shape = Launch::values(y.elem_count());
    launch(&device(x)?, &kernel_name("learned_gradient", x.dtype()), &shape, &arguments.collect::<Vec<_>>())?;
    push_grad(variable, y)
}

impl SharedKey {
    /// Pushes the gradients of key and bias, as the CPU does, from tensors on the GPU.
    fn push_tensor_grads(&self, rows: usize, length: usize, key_grad: &Tensor, logit_grad: &Tensor) -> Result<()> {
        let (heads, longest, _) = self.bias.dims3()?;
        let keys = self.keys()?;
        let size = self.key.elem_count() / heads / keys;
        // The gradient of a key for all positions is summed over the positions, too.
        let (key_rows, down) = if self.key.rank() == 2 { (rows * length, 1) } else { (rows, length) };
        let layout =
            RowStrides { rows: key_rows, tall: keys, wide: size, down, across: size, plane: size, line: heads * size };
        push_row_sums(&self.key, key_grad, &layout, 1.0)?;
        let layout = RowStrides {
            rows,
            tall: longest,
            wide: longest,
            down: length,
            across: length,
            plane: length * length,
            line: length,
        };
        push_row_sums(&self.bias, logit_grad, &layout, self.bias_scale)
    }
}
