//! The L2 norm of gradients, by which they are clipped.

use candle_core::backprop::GradStore;
use candle_core::{Tensor, Var};

use crate::error::Result;
use crate::ops;

/// Elements that one thread handles at a time: a fixed number, so that sums do not depend on the number of threads.
pub(super) const CHUNK: usize = 1 << 16;

/// Returns the L2 norm over the gradients of variables, summed in f64 in their order.
pub(super) fn norm<'a>(vars: impl Iterator<Item = &'a Var>, grads: &GradStore) -> Result<f64> {
    let mut total = 0.0;
    for var in vars {
        let Some(grad) = grads.get(var.as_tensor()) else { continue };
        total += if grad.device().is_cpu() {
            sum_of_squares(&grad.contiguous()?)?
        } else {
            f64::from(grad.sqr()?.sum_all()?.to_scalar::<f32>()?)
        };
    }
    Ok(total.sqrt())
}

fn sum_of_squares(grad: &Tensor) -> Result<f64> {
    let (storage, layout) = grad.storage_and_layout();
    let candle_core::Storage::Cpu(storage) = &*storage else { return Ok(0.0) };
    let values = ops::values(storage, layout)?;
    Ok(ops::run(values.chunks(CHUNK), |chunk| ops::squares(chunk, 0.0)).into_iter().sum())
}
