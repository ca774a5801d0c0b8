//! Decides which code computes an operation: the fused loops on the CPU, the kernels on a GPU, or the composition of
//! candle's own operations.

use std::cell::Cell;

use candle_core::{DType, Tensor};

thread_local! {
    static COMPOSED: Cell<bool> = const { Cell::new(false) };
}

/// Runs `f` with the fused operations and the kernels disabled on this thread, so that candle's own operations compute
/// everything. Tests use this as the reference.
pub fn composed<R>(f: impl FnOnce() -> R) -> R {
    let outer = COMPOSED.replace(true);
    let result = f();
    COMPOSED.set(outer);
    result
}

/// Returns whether the fused loops compute operations on `x`.
pub(super) fn fused(x: &Tensor) -> bool {
    x.device().is_cpu() && x.dtype() == DType::F32 && !COMPOSED.get()
}

/// Returns whether the kernels compute operations on `x`.
#[cfg(feature = "cuda")]
pub(crate) fn on_gpu(x: &Tensor) -> bool {
    x.device().is_cuda() && matches!(x.dtype(), DType::F32 | DType::BF16) && x.elem_count() > 0 && !COMPOSED.get()
}
