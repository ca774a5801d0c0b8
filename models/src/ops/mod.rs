//! Fused operations with their own backward pass, for f32 on the CPU and, as kernels (feature `cuda`), for f32 and bf16 on
//! a GPU; elsewhere each is the composition of candle's differentiable operations that it stands for.
//!
//! One pass over memory and one node of the graph replace up to ten. Numbers do not depend on the number of threads:
//! work is cut into pieces of fixed size, sums run in a fixed order. Apart from matrix products, which gemm makes with the
//! instructions that a processor has, they do not depend on the processor either: nothing is contracted, and the inner
//! loops, compiled again for AVX2 and AVX-512 (`crate::simd`), give the same bits there.

mod activation;
mod crf;
#[cfg(feature = "cuda")]
mod cuda;
mod dropout;
mod embedding;
mod gemm;
mod heads;
mod layer_norm;
mod leaves;
mod linear;
mod maths;
mod philox;
mod pool;
mod softmax;
mod sublayer;
mod viterbi;

use std::cell::Cell;
use std::ops::Range;

use candle_core::{CpuStorage, DType, Layout, Result, Storage, StorageRef, Tensor, WithDType};
use rayon::prelude::*;

pub(crate) use activation::Gelu;
pub use activation::{gelu_erf, gelu_tanh, quick_gelu};
pub use crf::{Chain, UNKNOWN, crf_nll};
#[cfg(feature = "cuda")]
pub use cuda::check::{KernelCheck, check_kernels};
#[cfg(feature = "cuda")]
pub use cuda::{GpuError, open_gpu};
#[cfg(feature = "cuda")]
pub(crate) use cuda::{Noisy, Stepped, adamw, add_noise, cross_entropy, takes as on_gpu};
pub(crate) use dropout::{Mask, dropout};
pub use embedding::{Ids, embedding};
pub use heads::{matmul_transposed, merge_heads, split_heads};
pub use layer_norm::layer_norm;
pub use leaves::backward;
pub use linear::linear;
pub(crate) use maths::{squares, total};
pub(crate) use philox::add_normal;
pub(crate) use pool::{Means, map_means};
pub use softmax::{masked_softmax, softmax};
pub(crate) use sublayer::{AttentionParts, FeedForwardParts, Keys, Order, Residual, SharedKey, Side, sublayer};
pub use viterbi::viterbi;

/// Values in one piece of work: large enough to be worth a thread, small enough to stay in its cache.
const PIECE: usize = 1 << 14;

thread_local! {
    static COMPOSED: Cell<bool> = const { Cell::new(false) };
}

/// Runs `f` with every operation as the composition of candle's that it stands for: the reference of tests.
pub fn composed<R>(f: impl FnOnce() -> R) -> R {
    let outer = COMPOSED.replace(true);
    let result = f();
    COMPOSED.set(outer);
    result
}

/// Whether [`composed`] is at work.
fn is_composed() -> bool {
    COMPOSED.get()
}

/// Whether the fused code runs; else the kernels of a GPU do, or the composition.
fn fused(x: &Tensor) -> bool {
    x.device().is_cpu() && x.dtype() == DType::F32 && !is_composed()
}

/// Rows of `width` values in one piece; the last piece may have fewer.
fn rows_per_piece(width: usize) -> usize {
    (PIECE / width.max(1)).max(1)
}

/// Results of `f` over the pieces in their order, on all threads when there is more than one.
pub(crate) fn run<T: Send, R: Send>(pieces: impl Iterator<Item = T>, f: impl Fn(T) -> R + Sync + Send) -> Vec<R> {
    let pieces: Vec<T> = pieces.collect();
    if rayon::current_num_threads() == 1 || pieces.len() < 2 {
        return pieces.into_iter().map(f).collect();
    }
    pieces.into_par_iter().map(f).collect()
}

/// The values of a contiguous tensor.
pub(crate) fn values<'a, T: WithDType>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [T]> {
    let Some((start, end)) = layout.contiguous_offsets() else { candle_core::bail!("the tensor is not contiguous") };
    Ok(&storage.as_slice::<T>()?[start..end])
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
