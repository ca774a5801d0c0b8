//! Operations with their own backward pass: fused loops for f32 on the CPU and, with the feature `cuda`, kernels for
//! f32 and bf16 on a GPU. For other number types, each operation is composed of candle's differentiable ones.
//!
//! One pass over memory and one node of the graph replace up to ten. Results do not depend on the number of threads,
//! because work is cut into pieces of fixed size and sums run in a fixed order (`threads`). Apart from matrix products,
//! whose instructions gemm chooses for each processor, results do not depend on the processor either: no operation is
//! contracted, and the inner loops, compiled again for AVX2 and AVX-512 (`crate::simd`), give the same bits there.
//!
//! # Contract
//! Gradients of variables bypass candle: [`backward`] collects them in a thread-local list while candle walks the
//! graph, so call [`backward`] and never `Tensor::backward`, which fused layers refuse. A graph is one-shot: what a
//! fused layer stored in its forward pass is freed by its backward pass, and a second pass over the same graph is an
//! error. Forward pass and backward pass of a graph run on the thread that calls them, and [`composed`], also a
//! thread-local switch, affects only the calls that this thread makes inside of it.
//!
//! `unsafe` code of this crate is in three files of this folder: `gemm.rs` (the call of gemm), `cuda/launch.rs` (kernel
//! launches and the memory that kernels fill) and `cuda/open.rs` (settings of the driver).

mod activation;
mod attention_heads;
mod chain;
mod crf;
#[cfg(feature = "cuda")]
mod cuda;
mod dispatch;
mod dropout;
mod embedding;
mod gemm;
mod host;
mod layer_norm;
mod layers;
mod linear;
mod map_means;
mod mask;
mod maths;
mod param_grads;
mod philox;
mod side;
mod softmax;
mod sublayer;
mod threads;
mod viterbi;

pub(crate) use activation::Activation;
#[cfg(feature = "cuda")]
pub(crate) use activation::Gelu;
pub use activation::{gelu_erf, gelu_tanh, quick_gelu};
pub use attention_heads::{matmul_transposed, merge_heads, split_heads};
pub use chain::{Chain, UNKNOWN};
pub use crf::crf_nll;
#[cfg(feature = "cuda")]
pub(crate) use cuda::{
    AttentionMemory, AttentionWork, NoisyGrad, SumRatio, VarStep, adamw, add_noise, attention_memory, cross_entropy,
};
#[cfg(feature = "cuda")]
pub use cuda::{GpuError, gpu_count, open_gpu};
pub use dispatch::composed;
#[cfg(feature = "cuda")]
pub(crate) use dispatch::on_gpu;
pub(crate) use dropout::dropout;
pub use embedding::{Ids, embedding};
pub(crate) use host::values;
pub use layer_norm::layer_norm;
pub(crate) use layers::{AttentionPart, FeedForwardPart, Keys, LayerNorm, Linear, Order, Residual, SharedKey};
pub use linear::linear;
pub(crate) use map_means::{Means, map_means};
pub(crate) use mask::DropoutMask;
pub(crate) use maths::{squares, total};
pub use param_grads::backward;
pub(crate) use philox::add_normal;
pub(crate) use side::SideResult;
pub use softmax::{masked_softmax, softmax};
pub(crate) use sublayer::sublayer;
pub(crate) use threads::run;
pub use viterbi::viterbi;
