//! Softmax over the last dimension, with a bias or without, as a node of candle's graph.

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CudaStorage, CustomOp1, CustomOp2, DType, Layout, Result, Shape, Tensor, bail};

use super::launch::{
    Arg, Launch, device, empty, gpu_only, input_arg, kernel_name, launch, output_arg, rows_of, storage, tensor_arg,
};

/// Returns the softmax of the last dimension of `x`, plus one row of `bias` for every `share` rows.
pub(in crate::ops) fn softmax(x: &Tensor, bias: Option<(&Tensor, usize)>) -> Result<Tensor> {
    let x = x.contiguous()?;
    match bias {
        Some((bias, share)) => x.apply_op2(&bias.contiguous()?.detach(), SoftmaxKernel { share }),
        None => x.apply_op1(SoftmaxKernel { share: 1 }),
    }
}

struct SoftmaxKernel {
    /// Rows that share one row of the bias.
    share: usize,
}

impl SoftmaxKernel {
    fn forward(&self, x: &CudaStorage, lx: &Layout, bias: Arg) -> Result<(CudaStorage, Shape)> {
        let (rows, width) = rows_of(lx);
        let dtype = x.dtype();
        let y = storage(&x.device, rows * width, dtype)?;
        let input = input_arg(x, lx, dtype, rows * width);
        let output = output_arg(&y, dtype, rows * width);
        let arguments = [input, bias, output, rows.into(), width.into(), self.share.into()];
        launch(&x.device, &kernel_name("softmax_forward", dtype), &Launch::warps(rows), &arguments)?;
        Ok((y, lx.shape().clone()))
    }

    fn backward(y: &Tensor, grad: &Tensor) -> Result<Tensor> {
        let (rows, width) = rows_of(y.layout());
        let grad = grad.contiguous()?;
        let dx = empty(y, y.shape(), y.dtype())?;
        let [y_arg, grad_arg, dx_arg] = [y, &grad, &dx].map(|x| tensor_arg(x, y.dtype(), rows * width));
        let arguments = [y_arg, grad_arg, dx_arg, rows.into(), width.into()];
        launch(&device(y)?, &kernel_name("softmax_backward", y.dtype()), &Launch::warps(rows), &arguments)?;
        Ok(dx)
    }
}

impl CustomOp1 for SoftmaxKernel {
    gpu_only!("softmax", x lx);

    fn cuda_fwd(&self, x: &CudaStorage, lx: &Layout) -> Result<(CudaStorage, Shape)> {
        self.forward(x, lx, Arg::At(0))
    }

    fn bwd(&self, _: &Tensor, y: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        Self::backward(y, grad).map(Some)
    }
}

impl CustomOp2 for SoftmaxKernel {
    gpu_only!("softmax", x lx, b lb);

    fn cuda_fwd(&self, x: &CudaStorage, lx: &Layout, b: &CudaStorage, lb: &Layout) -> Result<(CudaStorage, Shape)> {
        let (rows, width) = rows_of(lx);
        self.forward(x, lx, input_arg(b, lb, DType::F32, rows.div_ceil(self.share) * width))
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, y: &Tensor, grad: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        Ok((Some(Self::backward(y, grad)?), None))
    }
}
