//! Layer norm, softmax, dropout, embeddings and cross-entropy as nodes of candle's graph.

use std::sync::{Mutex, PoisonError};

use candle_core::backend::BackendStorage;
use candle_core::{
    CpuStorage, CudaStorage, CustomOp1, CustomOp2, CustomOp3, DType, Layout, Result, Shape, Tensor, bail,
};

use super::{Arg, Mask, Shape3, device, empty, form, given, given_some, launch, made, mask, read, storage};

/// What every operation here says of itself; there is no way of its on the CPU.
macro_rules! on_gpu {
    ($name:literal $(, $storage:ident $layout:ident)+) => {
        fn name(&self) -> &'static str {
            $name
        }
        fn cpu_fwd(&self $(, $storage: &CpuStorage, $layout: &Layout)+) -> Result<(CpuStorage, Shape)> {
            $(let (_, _) = ($storage, $layout);)+
            bail!("{} by kernels needs a tensor on a GPU", $name)
        }
    };
}

/// Rows and their width.
fn rows_of(layout: &Layout) -> (usize, usize) {
    let width = layout.dims().last().copied().unwrap_or(1);
    (layout.shape().elem_count() / width.max(1), width)
}

pub(in crate::ops) fn layer_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64) -> Result<Tensor> {
    x.contiguous()?.apply_op3(&weight.contiguous()?, &bias.contiguous()?, Norm(eps as f32))
}

struct Norm(f32);

impl CustomOp3 for Norm {
    on_gpu!("layer norm", x lx, w lw, b lb);

    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        lx: &Layout,
        w: &CudaStorage,
        lw: &Layout,
        b: &CudaStorage,
        lb: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let ((rows, width), dtype) = (rows_of(lx), x.dtype());
        let y = storage(&x.device, rows * width, dtype)?;
        let arguments = [
            read(x, lx, dtype, rows * width),
            read(w, lw, DType::F32, width),
            read(b, lb, DType::F32, width),
            made(&y, dtype, rows * width),
            width.into(),
            Arg::F32(self.0),
        ];
        launch(&x.device, &form("norm_forward", dtype), &Shape3::rows(rows, width), &arguments)?;
        Ok((y, lx.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        _: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let width = weight.elem_count();
        let rows = |t: &Tensor| t.contiguous()?.reshape(((), width));
        let (rows_x, rows_grad) = (rows(x)?, rows(grad)?);
        let norm = NormBackward::new(&rows_x, &rows_grad, None, weight, self.0, None)?;
        let [dw, db] = norm.variables()?;
        Ok((Some(norm.dx.reshape(x.shape())?), Some(dw), Some(db)))
    }
}

/// Backward pass of a norm over rows `x` `[M, H]`.
pub(super) struct NormBackward<'a> {
    x: &'a Tensor,
    grad: &'a Tensor,
    /// norm'(x, g) + `add`, `[M, H]`.
    pub dx: Tensor,
    /// The same, dropped; as it is without a mask.
    pub dropped: Tensor,
    of_rows: Tensor,
}

impl<'a> NormBackward<'a> {
    pub fn new(
        x: &'a Tensor,
        grad: &'a Tensor,
        add: Option<&Tensor>,
        weight: &Tensor,
        eps: f32,
        dropout: Option<Mask>,
    ) -> Result<Self> {
        let ((rows, width), dtype, count) = (x.dims2()?, x.dtype(), x.elem_count());
        let (dx, of_rows) = (empty(x, x.shape(), dtype)?, empty(x, (rows, 2), DType::F32)?);
        let dropped = dropout.map(|_| empty(x, x.shape(), dtype)).transpose()?;
        let [key, threshold, scale] = mask(dropout);
        let arguments = [
            given(x, dtype, count),
            given(grad, dtype, count),
            given_some(add, dtype, count),
            given(weight, DType::F32, width),
            given(&dx, dtype, count),
            given_some(dropped.as_ref(), dtype, count),
            given(&of_rows, DType::F32, 2 * rows),
            width.into(),
            Arg::F32(eps),
            key,
            threshold,
            scale,
        ];
        launch(&device(x)?, &form("norm_backward", dtype), &Shape3::rows(rows, width), &arguments)?;
        let dropped = dropped.unwrap_or_else(|| dx.clone());
        Ok(Self { x, grad, dx, dropped, of_rows })
    }

    /// dw and db.
    pub fn variables(&self) -> Result<[Tensor; 2]> {
        let ((rows, width), dtype) = (self.x.dims2()?, self.x.dtype());
        let (dw, db) = (empty(self.x, width, DType::F32)?, empty(self.x, width, DType::F32)?);
        let arguments = [
            given(self.grad, dtype, rows * width),
            given(self.x, dtype, rows * width),
            given(&self.of_rows, DType::F32, 2 * rows),
            given(&db, DType::F32, width),
            given(&dw, DType::F32, width),
            rows.into(),
            width.into(),
        ];
        let shape = Shape3::new(width.div_ceil(32), 1024);
        launch(&device(self.x)?, &form("column_sums", dtype), &shape, &arguments)?;
        Ok([dw, db])
    }
}

/// Softmax of the last dimension of `x`, plus one row of `bias` for each `share` rows.
pub(in crate::ops) fn softmax(x: &Tensor, bias: Option<(&Tensor, usize)>) -> Result<Tensor> {
    let x = x.contiguous()?;
    match bias {
        Some((bias, share)) => x.apply_op2(&bias.contiguous()?.detach(), Softmax { share }),
        None => x.apply_op1(Softmax { share: 1 }),
    }
}

struct Softmax {
    share: usize,
}

impl Softmax {
    fn forward(&self, x: &CudaStorage, lx: &Layout, bias: Arg) -> Result<(CudaStorage, Shape)> {
        let ((rows, width), dtype) = (rows_of(lx), x.dtype());
        let y = storage(&x.device, rows * width, dtype)?;
        let (x_read, y_made) = (read(x, lx, dtype, rows * width), made(&y, dtype, rows * width));
        let arguments = [x_read, bias, y_made, rows.into(), width.into(), self.share.into()];
        launch(&x.device, &form("softmax_forward", dtype), &Shape3::warps(rows), &arguments)?;
        Ok((y, lx.shape().clone()))
    }

    fn backward(y: &Tensor, grad: &Tensor) -> Result<Tensor> {
        let (rows, width) = rows_of(y.layout());
        let (grad, dx) = (grad.contiguous()?, empty(y, y.shape(), y.dtype())?);
        let [y_given, grad_given, dx_given] = [y, &grad, &dx].map(|x| given(x, y.dtype(), rows * width));
        let arguments = [y_given, grad_given, dx_given, rows.into(), width.into()];
        launch(&device(y)?, &form("softmax_backward", y.dtype()), &Shape3::warps(rows), &arguments)?;
        Ok(dx)
    }
}

impl CustomOp1 for Softmax {
    on_gpu!("softmax", x lx);

    fn cuda_fwd(&self, x: &CudaStorage, lx: &Layout) -> Result<(CudaStorage, Shape)> {
        self.forward(x, lx, Arg::At(0))
    }

    fn bwd(&self, _: &Tensor, y: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        Self::backward(y, grad).map(Some)
    }
}

impl CustomOp2 for Softmax {
    on_gpu!("softmax", x lx, b lb);

    fn cuda_fwd(&self, x: &CudaStorage, lx: &Layout, b: &CudaStorage, lb: &Layout) -> Result<(CudaStorage, Shape)> {
        let (rows, width) = rows_of(lx);
        self.forward(x, lx, read(b, lb, DType::F32, rows.div_ceil(self.share) * width))
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, y: &Tensor, grad: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        Ok((Some(Self::backward(y, grad)?), None))
    }
}

pub(in crate::ops) fn dropout(x: &Tensor, mask: Mask) -> Result<Tensor> {
    x.contiguous()?.apply_op1(Dropout(mask))
}

struct Dropout(Mask);

impl Dropout {
    fn arguments(&self, x: Arg, y: Arg, count: usize) -> Vec<Arg> {
        [x, y, Arg::U64(count as u64)].into_iter().chain(mask(Some(self.0))).collect()
    }
}

/// A tensor, dropped; as it is without a mask.
pub(super) fn dropped(x: &Tensor, mask: Option<Mask>) -> Result<Tensor> {
    let Some(mask) = mask else { return Ok(x.clone()) };
    let (y, dtype, count) = (empty(x, x.shape(), x.dtype())?, x.dtype(), x.elem_count());
    let arguments = Dropout(mask).arguments(given(x, dtype, count), given(&y, dtype, count), count);
    launch(&device(x)?, &form("dropout", dtype), &Shape3::values(count), &arguments)?;
    Ok(y)
}

impl CustomOp1 for Dropout {
    on_gpu!("dropout", x lx);

    fn cuda_fwd(&self, x: &CudaStorage, lx: &Layout) -> Result<(CudaStorage, Shape)> {
        let (count, dtype) = (lx.shape().elem_count(), x.dtype());
        let y = storage(&x.device, count, dtype)?;
        let arguments = self.arguments(read(x, lx, dtype, count), made(&y, dtype, count), count);
        launch(&x.device, &form("dropout", dtype), &Shape3::values(count), &arguments)?;
        Ok((y, lx.shape().clone()))
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        dropped(&grad.contiguous()?, Some(self.0)).map(Some)
    }
}

/// An id outside the table gives NaN, which the check of the loss meets: nothing here waits for the GPU. `places` are
/// those of the ids, sorted by id.
pub(in crate::ops) fn embedding(table: &Tensor, ids: &Tensor, places: &Tensor, padding: Option<u32>) -> Result<Tensor> {
    table.apply_op2(ids, Embedding { places: places.clone(), padding })
}

struct Embedding {
    places: Tensor,
    padding: Option<u32>,
}

impl CustomOp2 for Embedding {
    on_gpu!("embedding", table layout, ids places);

    fn cuda_fwd(
        &self,
        table: &CudaStorage,
        layout: &Layout,
        ids: &CudaStorage,
        places: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let (entries, width) = layout.shape().dims2()?;
        let count = places.shape().elem_count();
        let y = storage(&table.device, count * width, DType::F32)?;
        let arguments = [
            read(table, layout, DType::F32, entries * width),
            read(ids, places, DType::U32, count),
            made(&y, DType::F32, count * width),
            Arg::U32(entries as u32),
            width.into(),
        ];
        launch(&table.device, "embedding_forward_f32", &Shape3::rows(count, width), &arguments)?;
        Ok((y, [places.dims(), &[width]].concat().into()))
    }

    fn bwd(&self, table: &Tensor, ids: &Tensor, _: &Tensor, grad: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let ((entries, width), count) = (table.dims2()?, ids.elem_count());
        let (grad, sums) = (grad.contiguous()?, Tensor::zeros(table.shape(), DType::F32, table.device())?);
        let arguments = [
            given(ids, DType::U32, count),
            given(&self.places, DType::U32, count),
            given(&grad, grad.dtype(), count * width),
            given(&sums, DType::F32, entries * width),
            Arg::U32(count as u32),
            Arg::U32(entries as u32),
            // No row has the last number there is.
            Arg::U32(self.padding.unwrap_or(u32::MAX)),
            width.into(),
        ];
        let shape = Shape3::rows(count, width);
        launch(&device(table)?, &form("embedding_backward", grad.dtype()), &shape, &arguments)?;
        Ok((super::super::leaves::give_tensor(table, sums)?, None))
    }
}

/// `-log softmax(logits + bias)[target]` of each row, `[N]`; `logits` `[N, L]` f32, `bias` `[L]`, `targets` `[N]` u32.
/// A target outside gives NaN.
pub(crate) fn cross_entropy(logits: &Tensor, bias: Option<&Tensor>, targets: &Tensor) -> Result<Tensor> {
    let (bias, targets) = (bias.map(Tensor::contiguous).transpose()?, targets.contiguous()?);
    logits.contiguous()?.apply_op1(CrossEntropy { bias, targets, slope: Mutex::new(None) })
}

struct CrossEntropy {
    bias: Option<Tensor>,
    targets: Tensor,
    /// softmax - onehot.
    slope: Mutex<Option<Tensor>>,
}

impl CustomOp1 for CrossEntropy {
    on_gpu!("cross-entropy", x lx);

    fn cuda_fwd(&self, x: &CudaStorage, lx: &Layout) -> Result<(CudaStorage, Shape)> {
        let (rows, width) = lx.shape().dims2()?;
        let slope = empty(&self.targets, (rows, width), DType::F32)?;
        let loss = storage(&x.device, rows, DType::F32)?;
        let arguments = [
            read(x, lx, DType::F32, rows * width),
            given_some(self.bias.as_ref(), DType::F32, width),
            given(&self.targets, DType::U32, rows),
            made(&loss, DType::F32, rows),
            given(&slope, DType::F32, rows * width),
            rows.into(),
            width.into(),
        ];
        launch(&x.device, "cross_entropy", &Shape3::warps(rows), &arguments)?;
        *self.slope.lock().unwrap_or_else(PoisonError::into_inner) = Some(slope);
        Ok((loss, rows.into()))
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let slope = self.slope.lock().unwrap_or_else(PoisonError::into_inner);
        slope.as_ref().map(|slope| slope.broadcast_mul(&grad.unsqueeze(1)?)).transpose()
    }
}
