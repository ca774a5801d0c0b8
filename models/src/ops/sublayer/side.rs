//! A second result of an operation; candle's operations have one.
//!
//! The operation leaves the value here when it runs, and a node that reads its first result y brings the value into the
//! graph. The backward pass reaches that node before the operation, because the node reads y. The node leaves the
//! gradient here and the operation adds what follows from it. The node's own gradient to y is zero, but has to be there:
//! candle needs one for every node, also where the loss reads y through this result alone.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use candle_core::{CpuStorage, CudaStorage, CustomOp1, Layout, Result, Shape, Storage, Tensor};

/// The place that operation and node share.
#[derive(Clone, Default)]
pub(crate) struct Side(Arc<Mutex<Slot>>);

#[derive(Default)]
struct Slot {
    value: Option<(Storage, Shape)>,
    grad: Option<Tensor>,
}

impl Side {
    fn slot(&self) -> MutexGuard<'_, Slot> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves the value, for the operation's forward pass.
    pub fn put(&self, value: Storage, shape: impl Into<Shape>) {
        self.slot().value = Some((value, shape.into()));
    }

    /// The value as a tensor of the graph; `y` is the operation's first result.
    ///
    /// # Errors
    /// When no value was left.
    pub fn attach(&self, y: &Tensor) -> Result<Tensor> {
        y.apply_op1(Node(self.clone()))
    }

    /// Takes ∂L/∂value, contiguous, for the operation's backward pass; None where the loss does not depend on it.
    pub fn grad(&self) -> Result<Option<Tensor>> {
        let grad = self.slot().grad.take();
        grad.map(|grad| grad.contiguous()).transpose()
    }
}

struct Node(Side);

impl CustomOp1 for Node {
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
