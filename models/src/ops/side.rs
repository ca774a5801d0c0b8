//! Gives an operation a second result; candle's operations have one.
//!
//! The operation leaves the value in a [`SideResult`] when it runs, and a node that reads the first result y brings the
//! value into the graph. The backward pass reaches that node before the operation, because the node reads y. The node
//! leaves the gradient in the [`SideResult`], and the operation adds what follows from it. The node's own gradient to y
//! is zero but must exist: candle needs one for every node, even if the loss reads y through this result alone.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use candle_core::{CpuStorage, CudaStorage, CustomOp1, Layout, Result, Shape, Storage, Tensor};

/// The slot that operation and node share.
#[derive(Clone, Default)]
pub(crate) struct SideResult(Arc<Mutex<Slot>>);

#[derive(Default)]
struct Slot {
    value: Option<(Storage, Shape)>,
    grad: Option<Tensor>,
}

impl SideResult {
    fn slot(&self) -> MutexGuard<'_, Slot> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stores the value; the operation's forward pass calls this.
    pub fn put(&self, value: Storage, shape: impl Into<Shape>) {
        self.slot().value = Some((value, shape.into()));
    }

    /// Returns the value as a tensor of the graph; `y` is the operation's first result.
    ///
    /// # Errors
    /// The operation stored no value.
    pub fn attach(&self, y: &Tensor) -> Result<Tensor> {
        y.apply_op1(SideResultOp(self.clone()))
    }

    /// Takes ∂L/∂value, contiguous, for the operation's backward pass. Returns none if the loss does not depend on it.
    pub fn grad(&self) -> Result<Option<Tensor>> {
        let grad = self.slot().grad.take();
        grad.map(|grad| grad.contiguous()).transpose()
    }
}

/// Takes the gradient of a second result, as [`SideResult::grad`] does; none if there is no second result.
pub(super) fn side_grad(side: Option<&SideResult>) -> Result<Option<Tensor>> {
    Ok(side.map(SideResult::grad).transpose()?.flatten())
}

struct SideResultOp(SideResult);

impl CustomOp1 for SideResultOp {
    fn name(&self) -> &'static str {
        "side result"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        match self.0.slot().value.take() {
            Some((Storage::Cpu(value), shape)) => Ok((value, shape)),
            _ => candle_core::bail!("the operation left no second result in host memory"),
        }
    }

    fn cuda_fwd(&self, _: &CudaStorage, _: &Layout) -> Result<(CudaStorage, Shape)> {
        match self.0.slot().value.take() {
            Some((Storage::Cuda(value), shape)) => Ok((value, shape)),
            _ => candle_core::bail!("the operation left no second result on the GPU"),
        }
    }

    fn bwd(&self, y: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        self.0.slot().grad = Some(grad.clone());
        Tensor::zeros((), y.dtype(), y.device())?.broadcast_as(y.shape()).map(Some)
    }
}
