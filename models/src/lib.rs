//! Trainable networks on candle: encoders, heads, losses, optimiser. Every layer has a backward pass.
//!
//! Weights carry their Hugging Face names, so safetensors files load unchanged. Shapes: `B` rows, `T` word pieces,
//! `V` visual tokens, `H` hidden size, `L` labels.

mod activation;
mod attention;
pub mod bert;
pub mod clip;
pub mod crf;
pub mod distill;
pub mod dual;
pub mod encoder;
pub mod error;
pub mod heads;
pub mod hub;
mod init;
mod layer;
mod linear;
pub mod loss;
pub mod memory_network;
pub mod mkgformer;
pub mod mode;
pub mod modulation;
pub mod network;
pub mod norm;
pub mod ops;
pub mod optim;
pub mod params;
pub mod pixels;
pub mod simd;
pub mod states;
pub mod stream;
pub mod tokenize;
mod weights;

pub use error::{Error, Result};
