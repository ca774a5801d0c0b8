//! Fused operations with their own backward pass, for f32 on the CPU; elsewhere each is the composition of candle's
//! differentiable operations that it stands for.
//!
//! One pass over memory and one node of the graph replace up to ten. Apart from matrix
//! products, which are candle's, numbers do not depend on the number of threads or on the processor: work is cut into
//! pieces of fixed size, sums run in a fixed order, nothing is contracted.

mod activation;
mod dropout;
mod heads;
mod layer_norm;
mod linear;
mod maths;
mod softmax;

use std::ops::Range;

use candle_core::{CpuStorage, DType, Layout, Result, Storage, StorageRef, Tensor};
use rayon::prelude::*;

pub use activation::{gelu_erf, gelu_tanh, quick_gelu};
pub(crate) use dropout::dropout;
pub use heads::{matmul_transposed, merge_heads, split_heads};
pub use layer_norm::layer_norm;
pub use linear::linear;
pub use softmax::{masked_softmax, softmax};

/// Values in one piece of work: large enough to be worth a thread, small enough to stay in its cache.
const PIECE: usize = 1 << 14;

/// Whether the fused code runs; else the composition does.
fn fused(x: &Tensor) -> bool {
    x.device().is_cpu() && x.dtype() == DType::F32
}

/// Rows of `width` values in one piece; the last piece may have fewer.
fn rows_per_piece(width: usize) -> usize {
    (PIECE / width.max(1)).max(1)
}

/// Results of `f` over the pieces in their order, on all threads when there is more than one.
fn run<T: Send, R: Send>(pieces: impl Iterator<Item = T>, f: impl Fn(T) -> R + Sync + Send) -> Vec<R> {
    if rayon::current_num_threads() == 1 {
        return pieces.map(f).collect();
    }
    let pieces: Vec<T> = pieces.collect();
    pieces.into_par_iter().map(f).collect()
}

/// `y = f(x)` in pieces.
fn map(x: &[f32], f: impl Fn(f32) -> f32 + Sync + Send) -> Vec<f32> {
    let mut y = vec![0.0; x.len()];
    run(y.chunks_mut(PIECE).zip(x.chunks(PIECE)), |(y, x)| y.iter_mut().zip(x).for_each(|(y, x)| *y = f(*x)));
    y
}

/// `y = f(a, b)` in pieces.
fn zip(a: &[f32], b: &[f32], f: impl Fn(f32, f32) -> f32 + Sync + Send) -> Vec<f32> {
    let mut y = vec![0.0; a.len()];
    run(y.chunks_mut(PIECE).zip(a.chunks(PIECE)).zip(b.chunks(PIECE)), |((y, a), b)| {
        y.iter_mut().zip(a).zip(b).for_each(|((y, a), b)| *y = f(*a, *b));
    });
    y
}

/// The values of a contiguous tensor.
fn values<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    let Some((start, end)) = layout.contiguous_offsets() else { candle_core::bail!("the tensor is not contiguous") };
    Ok(&storage.as_slice::<f32>()?[start..end])
}

/// A contiguous f32 tensor in host memory, locked for reading.
struct Host<'a>(StorageRef<'a>, Range<usize>);

impl<'a> Host<'a> {
    fn new(x: &'a Tensor) -> Result<Self> {
        let (storage, layout) = x.storage_and_layout();
        match layout.contiguous_offsets() {
            Some((start, end)) => Ok(Self(storage, start..end)),
            None => candle_core::bail!("the tensor is not contiguous"),
        }
    }

    fn values(&self) -> Result<&[f32]> {
        match &*self.0 {
            Storage::Cpu(storage) => Ok(&storage.as_slice::<f32>()?[self.1.clone()]),
            _ => candle_core::bail!("the tensor is not in host memory"),
        }
    }
}
