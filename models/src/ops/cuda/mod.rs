//! The operations on a GPU: kernels of `models/kernels`, for f32 and bf16, and products by cuBLAS. Each computes what
//! its counterpart on the CPU computes, dropout masks included (`crate::kernel_check`), and none waits for the GPU.
//!
//! `launch` is what all kernels share; the other files have the nodes of candle's graph and the backward passes.

mod attention;
mod crf;
mod launch;
mod nodes;
mod norm;
mod open;
mod optimiser;
mod softmax;
mod sublayer;

pub(crate) use attention::{AttentionMemory, AttentionWork, attention_memory};
pub(super) use crf::{ChainInputs, crf_nll, viterbi};
pub(crate) use nodes::cross_entropy;
pub(super) use nodes::{dropout, embedding};
pub(super) use norm::layer_norm;
pub use open::{GpuError, gpu_count, open_gpu};
pub(crate) use optimiser::{NoisyGrad, SumRatio, VarStep, adamw, add_noise};
pub(super) use softmax::softmax;
pub(super) use sublayer::{GpuPart, sublayer};
