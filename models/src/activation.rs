//! Activations of feed-forward layers, under their Hugging Face names.

use candle_core::{Result, Tensor};

use crate::ops;

#[derive(Debug, Clone, Copy)]
pub(crate) enum Activation {
    /// x Φ(x), Hendrycks & Gimpel 2016.
    GeluErf,
    /// The same with Φ approximated by tanh.
    GeluTanh,
    /// x σ(1.702 x), CLIP's approximation.
    QuickGelu,
    Relu,
}

impl Activation {
    pub fn named(name: &str) -> Result<Self> {
        match name {
            "gelu" => Ok(Self::GeluErf),
            "gelu_new" | "gelu_pytorch_tanh" => Ok(Self::GeluTanh),
            "quick_gelu" => Ok(Self::QuickGelu),
            "relu" => Ok(Self::Relu),
            other => candle_core::bail!(
                "config.json: hidden_act `{other}` is not known; use gelu, gelu_new, quick_gelu or relu"
            ),
        }
    }

    pub fn forward(self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::GeluErf => ops::gelu_erf(x),
            Self::GeluTanh => ops::gelu_tanh(x),
            Self::QuickGelu => ops::quick_gelu(x),
            Self::Relu => x.relu(),
        }
    }
}
