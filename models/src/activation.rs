//! Activations of feed-forward layers, under their Hugging Face names.

use candle_core::{Result, Tensor};

use crate::ops::{self, Gelu};

#[derive(Debug, Clone, Copy)]
pub(crate) enum Activation {
    Gelu(Gelu),
    Relu,
}

impl Activation {
    pub fn named(name: &str) -> Result<Self> {
        match name {
            "gelu" => Ok(Self::Gelu(Gelu::Erf)),
            "gelu_new" | "gelu_pytorch_tanh" => Ok(Self::Gelu(Gelu::Tanh)),
            "quick_gelu" => Ok(Self::Gelu(Gelu::Quick)),
            "relu" => Ok(Self::Relu),
            other => candle_core::bail!(
                "config.json: hidden_act `{other}` is not known; use gelu, gelu_new, quick_gelu or relu"
            ),
        }
    }

    pub fn forward(self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Gelu(Gelu::Erf) => ops::gelu_erf(x),
            Self::Gelu(Gelu::Tanh) => ops::gelu_tanh(x),
            Self::Gelu(Gelu::Quick) => ops::quick_gelu(x),
            Self::Relu => x.relu(),
        }
    }
}
