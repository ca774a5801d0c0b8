//! Task heads on an encoder's last hidden states.

pub mod class;
pub mod entity;
pub mod joint;
pub mod joint_marker;
pub mod marker;
pub mod relation;

use candle_core::{Result, Tensor};
use candle_nn::{Init, VarBuilder};

use crate::linear::Linear;

/// States `[B, A, H]` of `hidden` `[B, T, H]` at positions `[B, A]` u32.
fn at(hidden: &Tensor, positions: &Tensor) -> Result<Tensor> {
    let (rows, pieces, size) = hidden.dims3()?;
    let (_, anchors) = positions.dims2()?;
    let starts: Vec<u32> = (0..rows as u32).map(|row| row * pieces as u32).collect();
    let index = positions.broadcast_add(&Tensor::from_vec(starts, (rows, 1), hidden.device())?)?;
    hidden.reshape((rows * pieces, size))?.index_select(&index.flatten_all()?, 0)?.reshape((rows, anchors, size))
}

/// States of the class token, `[B, H]` of `[B, T, H]`.
fn class_state(hidden: &Tensor) -> Result<Tensor> {
    hidden.narrow(1, 0, 1)?.squeeze(1)?.contiguous()
}

/// PyTorch's `nn.Linear` with its default initialisation, uniform in ±1/√inputs.
pub(crate) fn linear(inputs: usize, outputs: usize, bias: bool, vb: &VarBuilder<'_>) -> Result<Linear> {
    let bound = 1.0 / (inputs as f64).sqrt();
    let init = Init::Uniform { lo: -bound, up: bound };
    let weight = vb.get_with_hints((outputs, inputs), "weight", init)?;
    let bias = if bias { Some(vb.get_with_hints(outputs, "bias", init)?) } else { None };
    Ok(Linear::new(weight, bias))
}
