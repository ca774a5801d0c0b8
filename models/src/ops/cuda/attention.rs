//! Attention as the inner part of a sublayer on a GPU. Formulas are in `ops::sublayer::attention` and
//! `models/kernels/attention.cu`.

use candle_core::{CudaStorage, DType, Device, Result, Storage, Tensor, bail};

use super::launch::{
    Arg, Launch, device, empty, kernel_name, launch, mask_args, max_shared_memory, optional_arg, output_arg, storage,
    tensor_arg,
};
use super::sublayer::{GpuGrads, GpuKept, GpuPart, products};
use crate::ops::layers::{AttentionPart, InnerPart, Keys, SharedKey};
use crate::ops::param_grads::push_grad;
use crate::ops::side::side_grad;

/// Most keys that a block can attend over (`LONGEST` in attention.cu).
const LONGEST: usize = 192;
/// Warps of a block of attention (`WARPS` in attention.cu).
const WARPS: usize = 8;
/// Positions that a warp computes together (`TILE` in attention.cu).
const TILE: usize = 4;

impl AttentionPart {
    /// Returns the sizes of a block's work, for `states` of all rows.
    fn work(&self, states: usize) -> Result<AttentionWork> {
        let length = states / self.rows;
        let size = self.query.weight().dim(0)? / self.heads;
        Ok(AttentionWork { length, keys: self.prefix_length()? + length, size })
    }

    /// Returns the launch of a block per head and row, and the sizes that both kernels take.
    fn block(&self, work: AttentionWork) -> (Launch, [Arg; 7]) {
        let AttentionWork { length, size, .. } = work;
        let grid = (self.heads as u32, self.rows as u32);
        let shape = Launch { grid, threads: 32 * WARPS as u32, shared: 0 };
        let [key, threshold, keep] = mask_args(self.mask);
        let scale = Arg::F32((size as f32).sqrt().recip());
        (shape, [self.heads.into(), length.into(), size.into(), scale, key, threshold, keep])
    }

    /// Returns the arguments of the prefix, or zeros if there is none.
    fn prefix_arguments(&self, dtype: DType) -> Result<[Arg; 2]> {
        let Some(prefix) = &self.prefix else { return Ok([Arg::At(0), Arg::I32(0)]) };
        let width = self.query.weight().dim(0)?;
        let length = self.prefix_length()?;
        Ok([tensor_arg(prefix, dtype, 2 * self.rows * length * width), length.into()])
    }

    /// Returns K, V and F of the product of the layers, `[3, B, T, H]`, for another stream.
    fn reveal(&self, kept: &GpuKept, f: &Tensor) -> Result<CudaStorage> {
        let dtype = f.dtype();
        let count = f.elem_count();
        let width = f.dim(1)?;
        let y = storage(&device(f)?, 3 * count, dtype)?;
        let arguments = [
            tensor_arg(&kept.product, dtype, 3 * count),
            tensor_arg(&kept.bias, DType::F32, 3 * width),
            tensor_arg(f, dtype, count),
            output_arg(&y, dtype, 3 * count),
            Arg::U64(count as u64),
            width.into(),
        ];
        launch(&device(f)?, &kernel_name("reveal", dtype), &Launch::values(count), &arguments)?;
        Ok(y)
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

/// Adds the gradient of what [`AttentionPart::reveal`] returned to the gradients of K and V.
fn add_revealed(grad: &Tensor, grads: &Tensor) -> Result<()> {
    let dtype = grads.dtype();
    let count = grads.elem_count();
    let arguments = [
        tensor_arg(grad, dtype, count),
        tensor_arg(grads, dtype, count),
        Arg::U64(count as u64 / 3),
        (grads.dim(1)? / 3).into(),
    ];
    launch(&device(grads)?, &kernel_name("reveal_backward", dtype), &Launch::values(count / 3), &arguments)
}

/// Sizes of a block's work.
#[derive(Clone, Copy)]
pub(crate) struct AttentionWork {
    /// Positions of a row that attend.
    pub length: usize,
    /// Positions of a row that are attended to, those of the prefix among them.
    pub keys: usize,
    /// Number of values of a head, d.
    pub size: usize,
}

impl AttentionWork {
    /// Returns the bytes of keys and values, so that values behind them can be read four at a time.
    fn keys_and_values(self) -> usize {
        4 * (2 * self.keys * (self.size + 1)).next_multiple_of(4)
    }

    /// Returns the bytes of shared memory that a block of the forward pass needs.
    fn forward_memory(self) -> u32 {
        (self.keys_and_values() + 4 * WARPS * TILE * self.size.max(self.keys)) as u32
    }

    /// Returns the bytes of shared memory that a block of the backward pass needs.
    fn backward_memory(self, dtype: DType) -> u32 {
        let matrices = dtype.size_in_bytes() * 2 * self.length * self.keys.next_multiple_of(4);
        (self.keys_and_values() + 4 * WARPS * TILE * self.size + matrices) as u32
    }
}

/// Bytes of shared memory that a block of attention needs, and that a GPU has.
pub(crate) struct AttentionMemory {
    pub needed: u32,
    pub available: u32,
}

/// Compares the shared memory that attention needs with that of a GPU.
///
/// # Errors
/// The device is not a GPU.
pub(crate) fn attention_memory(gpu: &Device, work: AttentionWork, dtype: DType) -> Result<AttentionMemory> {
    let available = max_shared_memory(gpu.as_cuda_device()?)?;
    Ok(AttentionMemory { needed: work.forward_memory().max(work.backward_memory(dtype)), available })
}

impl GpuPart for AttentionPart {
    fn supports(&self, x: &Tensor) -> Result<bool> {
        let work = self.work(x.elem_count() / x.dim(2)?)?;
        let biases = self.layers().iter().all(|layer| layer.bias().is_some());
        let memory = attention_memory(x.device(), work, x.dtype())?;
        Ok(biases && work.keys <= LONGEST && memory.needed <= memory.available)
    }

    fn gpu_forward(&self, x: &Tensor) -> Result<(Tensor, GpuKept)> {
        let mut kept = products(&self.layers(), x)?;
        let work = self.work(x.dim(0)?)?;
        let AttentionWork { length, keys, size } = work;
        let (mut shape, counts) = self.block(work);
        let f = empty(x, x.shape(), x.dtype())?;
        let map_shape = (self.rows, self.heads, length, keys);
        let maps = empty(x, map_shape, x.dtype())?;
        let logits = self.logits.as_ref().map(|_| storage(&device(x)?, maps.elem_count(), x.dtype())).transpose()?;
        shape.shared = work.forward_memory();
        let padding = self.padding.as_ref().map(Tensor::contiguous).transpose()?;
        let states = x.elem_count();
        let map = maps.elem_count();
        let dtype = x.dtype();
        let tensors = [
            tensor_arg(&kept.product, dtype, self.layers().len() * states),
            tensor_arg(&kept.bias, DType::F32, self.layers().len() * self.heads * size),
            optional_arg(padding.as_ref(), DType::F32, self.rows * keys),
            tensor_arg(&f, dtype, states),
            tensor_arg(&maps, dtype, map),
            logits.as_ref().map_or(Arg::At(0), |logits| output_arg(logits, dtype, map)),
        ];
        let tensors = tensors.into_iter().chain(self.prefix_arguments(dtype)?);
        let arguments: Vec<Arg> = tensors.chain(self.learned_arguments(length)?).chain(counts).collect();
        launch(&device(x)?, &kernel_name("attention_forward", x.dtype()), &shape, &arguments)?;
        if let (Some(side), Some(logits)) = (&self.logits, logits) {
            side.put(Storage::Cuda(logits), map_shape);
        }
        if let Some(side) = &self.revealed {
            side.put(Storage::Cuda(self.reveal(&kept, &f)?), (3, self.rows, length, self.heads * size));
        }
        kept.attention = Some([maps, f.clone()]);
        Ok((f, kept))
    }

    fn gpu_backward(&self, kept: &GpuKept, grad: &Tensor) -> Result<GpuGrads> {
        let Some([maps, f]) = &kept.attention else { bail!("attention kept no maps") };
        let work = self.work(grad.dim(0)?)?;
        let (mut shape, counts) = self.block(work);
        let revealed_grad = side_grad(self.revealed.as_ref())?;
        let with_revealed = revealed_grad.as_ref().map(|of| grad + of.get(2)?.reshape(grad.shape())?).transpose()?;
        let grad = with_revealed.as_ref().unwrap_or(grad);
        let before_grad = self.prefix.as_ref().map(|prefix| empty(grad, prefix.shape(), grad.dtype())).transpose()?;
        let grads = empty(grad, kept.product.shape(), grad.dtype())?;
        let logit_grad = side_grad(self.logits.as_ref())?;
        let key_grad = match &self.keys {
            Keys::Projected(_) => None,
            Keys::Shared(_) => Some(empty(grad, grad.shape(), DType::F32)?),
        };
        shape.shared = work.backward_memory(grad.dtype());
        let states = grad.elem_count();
        let dtype = grad.dtype();
        let map = self.rows * self.heads * work.length * work.keys;
        let tensors = [
            tensor_arg(&kept.product, dtype, self.layers().len() * states),
            tensor_arg(&kept.bias, DType::F32, self.layers().len() * self.heads * work.size),
            tensor_arg(maps, dtype, map),
            tensor_arg(grad, dtype, states),
            tensor_arg(&grads, dtype, self.layers().len() * states),
            optional_arg(logit_grad.as_ref(), dtype, map),
            optional_arg(key_grad.as_ref(), DType::F32, states),
        ];
        let before_count = before_grad.as_ref().map_or(0, Tensor::elem_count);
        let to_before = optional_arg(before_grad.as_ref(), dtype, before_count);
        let tensors = tensors.into_iter().chain(self.prefix_arguments(dtype)?).chain([to_before]);
        let arguments: Vec<Arg> = tensors.chain(self.learned_arguments(work.length)?).chain(counts).collect();
        launch(&device(grad)?, &kernel_name("attention_backward", grad.dtype()), &shape, &arguments)?;
        if let (Keys::Shared(shared), Some(key_grad)) = (&self.keys, key_grad) {
            shared.push_tensor_grads(self.rows, work.length, &key_grad, maps)?;
        }
        if let Some(grad) = &revealed_grad {
            add_revealed(grad, &grads)?;
        }
        Ok(GpuGrads { f: f.clone(), product: grads, second: before_grad })
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
