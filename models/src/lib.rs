//! Trainable networks on candle: encoders, heads, losses and the optimiser. Every layer has a backward pass.
//!
//! From the bottom up: [`ops`] (operations with their gradients, on the CPU and on a GPU) → [`params`] (named
//! variables), [`mode`] (dropout) and [`inputs`] → [`encoders`] → [`networks`] → [`heads`] → [`losses`] → [`optim`].
//! [`text`] and [`pixels`] prepare inputs; [`pretrained`] reads the files of published models.
//!
//! Weights have their Hugging Face names, so safetensors files load unchanged. Shapes: `B` rows, `T` word pieces,
//! `V` visual tokens, `H` hidden size, `L` labels.

pub mod encoders;
pub mod error;
pub mod heads;
mod init;
pub mod inputs;
#[cfg(feature = "cuda")]
pub mod kernel_check;
pub mod losses;
pub mod mode;
pub mod networks;
pub mod ops;
pub mod optim;
pub mod params;
pub mod pixels;
pub mod pretrained;
pub mod simd;
pub mod text;

pub use error::{Error, Result};
