//! Trainable networks on candle: encoders, heads, losses, optimiser. Every layer has a backward pass.
//!
//! Weights carry their Hugging Face names, so safetensors files load unchanged. Shapes: `B` rows, `T` word pieces,
//! `H` hidden size, `L` labels.

pub mod bert;
pub mod crf;
pub mod encoder;
pub mod error;
pub mod heads;
pub mod loss;
pub mod mode;
pub mod norm;
pub mod optim;
pub mod params;
pub mod tokenize;

pub use error::{Error, Result};
