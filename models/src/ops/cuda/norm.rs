//! Layer normalisation as a node of candle's graph, and its backward pass alone, which sublayers use as well.

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CudaStorage, CustomOp3, DType, Layout, Result, Shape, Tensor, bail};

use super::launch::{
    Arg, Launch, device, empty, gpu_only, input_arg, kernel_name, launch, mask_args, optional_arg, output_arg, rows_of,
    storage, tensor_arg,
};
use crate::ops::mask::DropoutMask;

/// Normalises `x` `[.., H]` with `weight` `[H]` and `bias` `[H]`.
pub(in crate::ops) fn layer_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64) -> Result<Tensor> {
    x.contiguous()?.apply_op3(&weight.contiguous()?, &bias.contiguous()?, LayerNormKernel { eps: eps as f32 })
}

struct LayerNormKernel {
    eps: f32,
}

impl CustomOp3 for LayerNormKernel {
    gpu_only!("layer norm", x lx, w lw, b lb);

    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        lx: &Layout,
        w: &CudaStorage,
        lw: &Layout,
        b: &CudaStorage,
        lb: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let (rows, width) = rows_of(lx);
        let dtype = x.dtype();
        let y = storage(&x.device, rows * width, dtype)?;
        let arguments = [
            input_arg(x, lx, dtype, rows * width),
            input_arg(w, lw, DType::F32, width),
            input_arg(b, lb, DType::F32, width),
            output_arg(&y, dtype, rows * width),
            width.into(),
            Arg::F32(self.eps),
        ];
        launch(&x.device, &kernel_name("norm_forward", dtype), &Launch::rows(rows, width), &arguments)?;
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
        let rows_x = rows(x)?;
        let rows_grad = rows(grad)?;
        let norm = NormBackward::new(&rows_x, &rows_grad, None, weight, self.eps, None)?;
        let [dw, db] = norm.variables()?;
        Ok((Some(norm.dx.reshape(x.shape())?), Some(dw), Some(db)))
    }
}

/// The backward pass of a norm over rows `x` `[M, H]`.
pub(super) struct NormBackward<'a> {
    x: &'a Tensor,
    grad: &'a Tensor,
    /// norm'(x, g) + `add`, `[M, H]`.
    pub dx: Tensor,
    /// [`Self::dx`] with dropout applied, or a copy of it without a mask.
    pub dropped: Tensor,
    /// Mean and r of each row, `[M, 2]`.
    row_moments: Tensor,
}

impl<'a> NormBackward<'a> {
    pub fn new(
        x: &'a Tensor,
        grad: &'a Tensor,
        add: Option<&Tensor>,
        weight: &Tensor,
        eps: f32,
        dropout: Option<DropoutMask>,
    ) -> Result<Self> {
        let (rows, width) = x.dims2()?;
        let dtype = x.dtype();
        let count = x.elem_count();
        let dx = empty(x, x.shape(), dtype)?;
        let row_moments = empty(x, (rows, 2), DType::F32)?;
        let dropped = dropout.map(|_| empty(x, x.shape(), dtype)).transpose()?;
        let [key, threshold, scale] = mask_args(dropout);
        let arguments = [
            tensor_arg(x, dtype, count),
            tensor_arg(grad, dtype, count),
            optional_arg(add, dtype, count),
            tensor_arg(weight, DType::F32, width),
            tensor_arg(&dx, dtype, count),
            optional_arg(dropped.as_ref(), dtype, count),
            tensor_arg(&row_moments, DType::F32, 2 * rows),
            width.into(),
            Arg::F32(eps),
            key,
            threshold,
            scale,
        ];
        launch(&device(x)?, &kernel_name("norm_backward", dtype), &Launch::rows(rows, width), &arguments)?;
        let dropped = dropped.unwrap_or_else(|| dx.clone());
        Ok(Self { x, grad, dx, dropped, row_moments })
    }

    /// Returns the gradients of the variables, dw and db.
    pub fn variables(&self) -> Result<[Tensor; 2]> {
        let (rows, width) = self.x.dims2()?;
        let dtype = self.x.dtype();
        let dw = empty(self.x, width, DType::F32)?;
        let db = empty(self.x, width, DType::F32)?;
        let arguments = [
            tensor_arg(self.grad, dtype, rows * width),
            tensor_arg(self.x, dtype, rows * width),
            tensor_arg(&self.row_moments, DType::F32, 2 * rows),
            tensor_arg(&db, DType::F32, width),
            tensor_arg(&dw, DType::F32, width),
            rows.into(),
            width.into(),
        ];
        let shape = Launch::new(width.div_ceil(32), 1024);
        launch(&device(self.x)?, &kernel_name("column_sums", dtype), &shape, &arguments)?;
        Ok([dw, db])
    }
}
