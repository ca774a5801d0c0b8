//! Dropout, embeddings and cross-entropy as nodes of candle's graph.

use std::sync::{Mutex, PoisonError};

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CudaStorage, CustomOp1, CustomOp2, DType, Layout, Result, Shape, Tensor, bail};

use super::launch::{
    Arg, Launch, device, empty, gpu_only, input_arg, kernel_name, launch, mask_args, optional_arg, output_arg, storage,
    tensor_arg,
};
use crate::ops::mask::DropoutMask;
use crate::ops::param_grads::push_or_return;

/// Applies `mask` to `x`, of any shape.
pub(in crate::ops) fn dropout(x: &Tensor, mask: DropoutMask) -> Result<Tensor> {
    x.contiguous()?.apply_op1(DropoutKernel(mask))
}

struct DropoutKernel(DropoutMask);

impl DropoutKernel {
    fn arguments(&self, x: Arg, y: Arg, count: usize) -> Vec<Arg> {
        [x, y, Arg::U64(count as u64)].into_iter().chain(mask_args(Some(self.0))).collect()
    }
}

/// Returns `x` with dropout applied, or a copy of it without a mask; outside of any graph.
pub(super) fn dropped(x: &Tensor, mask: Option<DropoutMask>) -> Result<Tensor> {
    let Some(mask) = mask else { return Ok(x.clone()) };
    let dtype = x.dtype();
    let count = x.elem_count();
    let y = empty(x, x.shape(), dtype)?;
    let arguments = DropoutKernel(mask).arguments(tensor_arg(x, dtype, count), tensor_arg(&y, dtype, count), count);
    launch(&device(x)?, &kernel_name("dropout", dtype), &Launch::values(count), &arguments)?;
    Ok(y)
}

impl CustomOp1 for DropoutKernel {
    gpu_only!("dropout", x lx);

    fn cuda_fwd(&self, x: &CudaStorage, lx: &Layout) -> Result<(CudaStorage, Shape)> {
        let count = lx.shape().elem_count();
        let dtype = x.dtype();
        let y = storage(&x.device, count, dtype)?;
        let arguments = self.arguments(input_arg(x, lx, dtype, count), output_arg(&y, dtype, count), count);
        launch(&x.device, &kernel_name("dropout", dtype), &Launch::values(count), &arguments)?;
        Ok((y, lx.shape().clone()))
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        dropped(&grad.contiguous()?, Some(self.0)).map(Some)
    }
}

/// Looks up rows of `table`; `positions` are those of the ids, sorted by id. An id outside the table gives NaN, which
/// the check of the loss finds, because nothing here waits for the GPU.
pub(in crate::ops) fn embedding(
    table: &Tensor,
    ids: &Tensor,
    positions: &Tensor,
    padding: Option<u32>,
) -> Result<Tensor> {
    table.apply_op2(ids, EmbeddingKernel { positions: positions.clone(), padding })
}

struct EmbeddingKernel {
    positions: Tensor,
    padding: Option<u32>,
}

impl CustomOp2 for EmbeddingKernel {
    gpu_only!("embedding", table layout, ids ids_layout);

    fn cuda_fwd(
        &self,
        table: &CudaStorage,
        layout: &Layout,
        ids: &CudaStorage,
        ids_layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let (entries, width) = layout.shape().dims2()?;
        let count = ids_layout.shape().elem_count();
        let y = storage(&table.device, count * width, DType::F32)?;
        let arguments = [
            input_arg(table, layout, DType::F32, entries * width),
            input_arg(ids, ids_layout, DType::U32, count),
            output_arg(&y, DType::F32, count * width),
            Arg::U32(entries as u32),
            width.into(),
        ];
        launch(&table.device, "embedding_forward_f32", &Launch::rows(count, width), &arguments)?;
        Ok((y, [ids_layout.dims(), &[width]].concat().into()))
    }

    fn bwd(&self, table: &Tensor, ids: &Tensor, _: &Tensor, grad: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (entries, width) = table.dims2()?;
        let count = ids.elem_count();
        let grad = grad.contiguous()?;
        let sums = Tensor::zeros(table.shape(), DType::F32, table.device())?;
        let arguments = [
            tensor_arg(ids, DType::U32, count),
            tensor_arg(&self.positions, DType::U32, count),
            tensor_arg(&grad, grad.dtype(), count * width),
            tensor_arg(&sums, DType::F32, entries * width),
            Arg::U32(count as u32),
            Arg::U32(entries as u32),
            // Without padding, a number that no row has.
            Arg::U32(self.padding.unwrap_or(u32::MAX)),
            width.into(),
        ];
        let shape = Launch::rows(count, width);
        launch(&device(table)?, &kernel_name("embedding_backward", grad.dtype()), &shape, &arguments)?;
        Ok((push_or_return(table, sums)?, None))
    }
}

/// Returns `-log softmax(logits + bias)[target]` of each row, `[N]`, for `logits` `[N, L]` f32, `bias` `[L]` and
/// `targets` `[N]` u32. A target that is not below `L` gives NaN.
pub(crate) fn cross_entropy(logits: &Tensor, bias: Option<&Tensor>, targets: &Tensor) -> Result<Tensor> {
    let bias = bias.map(Tensor::contiguous).transpose()?;
    let targets = targets.contiguous()?;
    logits.contiguous()?.apply_op1(CrossEntropyKernel { bias, targets, slope: Mutex::new(None) })
}

struct CrossEntropyKernel {
    bias: Option<Tensor>,
    targets: Tensor,
    /// Gradient of each row's loss, softmax - onehot, `[N, L]`.
    slope: Mutex<Option<Tensor>>,
}

impl CustomOp1 for CrossEntropyKernel {
    gpu_only!("cross-entropy", x lx);

    fn cuda_fwd(&self, x: &CudaStorage, lx: &Layout) -> Result<(CudaStorage, Shape)> {
        let (rows, width) = lx.shape().dims2()?;
        let slope = empty(&self.targets, (rows, width), DType::F32)?;
        let loss = storage(&x.device, rows, DType::F32)?;
        let arguments = [
            input_arg(x, lx, DType::F32, rows * width),
            optional_arg(self.bias.as_ref(), DType::F32, width),
            tensor_arg(&self.targets, DType::U32, rows),
            output_arg(&loss, DType::F32, rows),
            tensor_arg(&slope, DType::F32, rows * width),
            rows.into(),
            width.into(),
        ];
        launch(&x.device, "cross_entropy", &Launch::warps(rows), &arguments)?;
        *self.slope.lock().unwrap_or_else(PoisonError::into_inner) = Some(slope);
        Ok((loss, rows.into()))
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let slope = self.slope.lock().unwrap_or_else(PoisonError::into_inner);
        slope.as_ref().map(|slope| slope.broadcast_mul(&grad.unsqueeze(1)?)).transpose()
    }
}
