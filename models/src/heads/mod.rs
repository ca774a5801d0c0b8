//! Task heads on the last hidden states that they read: those at the entity markers, of the class token, or of each word's
//! first piece ([`crate::states::at`] selects them).

pub mod class;
pub mod entity;
pub mod joint;
pub mod joint_marker;
pub mod marker;
pub mod relation;

use candle_core::{Result, Tensor};
use candle_nn::{Init, VarBuilder};

use crate::linear::Linear;

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
