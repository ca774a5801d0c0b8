//! F of attention on a GPU: formulas in `ops::sublayer::attention` and `kernels/attention.cu`.

use candle_core::{DType, Result, Storage, Tensor, bail};

use super::sublayer::{DeviceInner, DeviceKept, products};
use super::{Arg, Shape3, device, empty, form, given, given_some, launch, made, mask, most_shared, storage};
use crate::ops::leaves;
use crate::ops::sublayer::{AttentionParts, Inner, Keys, SharedKey, Side};

/// Longest rows whose attention fits into a block (`LONGEST` in attention.cu).
const LONGEST: usize = 128;
/// Threads of a block of attention, in warps (`WARPS` there).
const WARPS: usize = 8;

impl AttentionParts {
    /// A block per head and row, and the sizes that both kernels take.
    fn block(&self, states: usize) -> (usize, usize, Shape3, [Arg; 7]) {
        let width = self.query.weight().dims()[0];
        let (length, size) = (states / self.rows, width / self.heads);
        let grid = (self.heads as u32, self.rows as u32);
        let shape = Shape3 { grid, threads: 32 * WARPS as u32, shared: 0 };
        let [key, threshold, keep] = mask(self.mask);
        let scale = Arg::F32((size as f32).sqrt().recip());
        (length, size, shape, [self.heads.into(), length.into(), size.into(), scale, key, threshold, keep])
    }

    /// Learned keys and their bias; none where keys are projected.
    fn learned_arguments(&self, length: usize) -> Result<[Arg; 5]> {
        let Keys::Shared(shared) = &self.keys else {
            return Ok([Arg::At(0), Arg::I32(0), Arg::At(0), Arg::I32(0), Arg::F32(0.0)]);
        };
        shared.check(length)?;
        let (keys, longest) = (shared.keys()?, shared.bias.dim(1)?);
        let size = self.query.weight().dim(0)? / self.heads;
        let key = given(&shared.key, DType::F32, self.heads * keys * size);
        let bias = given(&shared.bias, DType::F32, self.heads * longest * longest);
        Ok([key, keys.into(), bias, longest.into(), Arg::F32(shared.bias_scale as f32)])
    }
}

/// Shared memory of a block of the backward pass, bytes; the forward pass needs less for heads of up to 128.
pub(super) fn backward_memory(length: usize, size: usize, dtype: DType) -> u32 {
    let matrices = dtype.size_in_bytes() * 2 * length * (length + 1);
    (4 * (2 * length * (size + 1) + WARPS * size) + matrices) as u32
}

impl DeviceInner for AttentionParts {
    fn fits(&self, x: &Tensor) -> Result<bool> {
        let (_, length, width) = x.dims3()?;
        let biases = self.layers().iter().all(|layer| layer.bias().is_some());
        let memory = backward_memory(length, width / self.heads, x.dtype());
        Ok(biases && length <= LONGEST && memory <= most_shared(&device(x)?)?)
    }

    fn device_forward(&self, x: &Tensor) -> Result<(Tensor, DeviceKept)> {
        let mut kept = products(&self.layers(), x)?;
        let (length, size, mut shape, counts) = self.block(x.dim(0)?);
        let f = empty(x, x.shape(), x.dtype())?;
        let map_shape = (self.rows, self.heads, length, length);
        let maps = empty(x, map_shape, x.dtype())?;
        let logits = self.logits.as_ref().map(|_| storage(&device(x)?, maps.elem_count(), x.dtype())).transpose()?;
        shape.shared = 4 * (2 * length * (size + 1) + WARPS * (size + LONGEST)) as u32;
        let padding = self.padding.as_ref().map(Tensor::contiguous).transpose()?;
        let (states, map, dtype) = (x.elem_count(), maps.elem_count(), x.dtype());
        let tensors = [
            given(&kept.product, dtype, self.layers().len() * states),
            given(&kept.bias, DType::F32, self.layers().len() * self.heads * size),
            given_some(padding.as_ref(), DType::F32, self.rows * length),
            given(&f, dtype, states),
            given(&maps, dtype, map),
            logits.as_ref().map_or(Arg::At(0), |logits| made(logits, dtype, map)),
        ];
        let arguments: Vec<Arg> = tensors.into_iter().chain(self.learned_arguments(length)?).chain(counts).collect();
        launch(&device(x)?, &form("attention_forward", x.dtype()), &shape, &arguments)?;
        if let (Some(side), Some(logits)) = (&self.logits, logits) {
            side.put(Storage::Cuda(logits), map_shape);
        }
        kept.attention = Some([maps, f.clone()]);
        Ok((f, kept))
    }

    fn device_backward(&self, kept: &DeviceKept, grad: &Tensor) -> Result<(Tensor, Tensor)> {
        let Some([maps, f]) = &kept.attention else { bail!("attention kept no maps") };
        let (length, size, mut shape, counts) = self.block(grad.dim(0)?);
        let grads = empty(grad, kept.product.shape(), grad.dtype())?;
        let of_logits = self.logits.as_ref().map(Side::grad).transpose()?.flatten();
        let of_key = match &self.keys {
            Keys::Own(_) => None,
            Keys::Shared(_) => Some(empty(grad, grad.shape(), DType::F32)?),
        };
        shape.shared = backward_memory(length, size, grad.dtype());
        let (states, dtype) = (grad.elem_count(), grad.dtype());
        let map = self.rows * self.heads * length * length;
        let tensors = [
            given(&kept.product, dtype, self.layers().len() * states),
            given(&kept.bias, DType::F32, self.layers().len() * self.heads * size),
            given(maps, dtype, map),
            given(grad, dtype, states),
            given(&grads, dtype, self.layers().len() * states),
            given_some(of_logits.as_ref(), dtype, map),
            given_some(of_key.as_ref(), DType::F32, states),
        ];
        let arguments = tensors.into_iter().chain(self.learned_arguments(length)?).chain(counts);
        let arguments: Vec<Arg> = arguments.collect();
        launch(&device(grad)?, &form("attention_backward", grad.dtype()), &shape, &arguments)?;
        if let (Keys::Shared(shared), Some(of_key)) = (&self.keys, of_key) {
            shared.hand_over_tensors(self.rows, length, &of_key, maps)?;
        }
        Ok((f.clone(), grads))
    }
}

/// Where the values of a learned tensor `[.., tall, wide]` stand in what each row adds to it: `[down, across]` values
/// `line` apart, the leading ones `plane` apart.
struct Layout {
    rows: usize,
    tall: usize,
    wide: usize,
    down: usize,
    across: usize,
    plane: usize,
    line: usize,
}

/// Hands over the gradient of a learned tensor, from what each row of `x` adds to it.
fn hand_over(variable: &Tensor, x: &Tensor, layout: &Layout, scale: f64) -> Result<()> {
    let y = empty(x, variable.shape(), DType::F32)?;
    let sizes = [layout.tall, layout.wide, layout.down, layout.across].map(Arg::from);
    let steps = [layout.plane, layout.line].map(|step| Arg::U64(step as u64));
    let stride = Arg::U64((x.elem_count() / layout.rows) as u64);
    let count = y.elem_count();
    let (from, to) = (given(x, x.dtype(), x.elem_count()), given(&y, DType::F32, count));
    let start = [from, to, Arg::U64(count as u64), layout.rows.into(), stride];
    let arguments = start.into_iter().chain(sizes).chain(steps).chain([Arg::F32(scale as f32)]);
    let shape = Shape3::values(y.elem_count());
    launch(&device(x)?, &form("learned_gradient", x.dtype()), &shape, &arguments.collect::<Vec<_>>())?;
    leaves::keep_tensor(variable, y)
}

impl SharedKey {
    /// [`SharedKey::hand_over`] from tensors.
    fn hand_over_tensors(&self, rows: usize, length: usize, of_key: &Tensor, of_logits: &Tensor) -> Result<()> {
        let ((heads, longest, _), keys) = (self.bias.dims3()?, self.keys()?);
        let size = self.key.elem_count() / heads / keys;
        // A key for all positions is the sum over the positions too.
        let (rows_of_key, down) = if self.key.rank() == 2 { (rows * length, 1) } else { (rows, length) };
        let (plane, line) = (size, heads * size);
        let layout = Layout { rows: rows_of_key, tall: keys, wide: size, down, across: size, plane, line };
        hand_over(&self.key, of_key, &layout, 1.0)?;
        let (plane, line) = (length * length, length);
        let layout = Layout { rows, tall: longest, wide: longest, down: length, across: length, plane, line };
        hand_over(&self.bias, of_logits, &layout, self.bias_scale)
    }
}
