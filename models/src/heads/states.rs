//! Picks the states that heads read.

use candle_core::{Result, Tensor};

/// Returns the states `[B, A, H]` of `hidden` `[B, T, H]` at positions `[B, A]` u32.
pub(super) fn states_at(hidden: &Tensor, positions: &Tensor) -> Result<Tensor> {
    let (rows, pieces, size) = hidden.dims3()?;
    let (_, anchors) = positions.dims2()?;
    let starts: Vec<u32> = (0..rows as u32).map(|row| row * pieces as u32).collect();
    let index = positions.broadcast_add(&Tensor::from_vec(starts, (rows, 1), hidden.device())?)?;
    hidden.reshape((rows * pieces, size))?.index_select(&index.flatten_all()?, 0)?.reshape((rows, anchors, size))
}

/// Returns the states of the class token, `[B, H]`, of `hidden` `[B, T, H]`.
pub(super) fn class_state(hidden: &Tensor) -> Result<Tensor> {
    hidden.narrow(1, 0, 1)?.squeeze(1)?.contiguous()
}

/// Returns the states of head and tail side by side, `[B, 2H]`, from `hidden` `[B, T, H]` and the positions `[B]` u32
/// of their opening markers.
pub(super) fn marker_states(hidden: &Tensor, head: &Tensor, tail: &Tensor) -> Result<Tensor> {
    states_at(hidden, &Tensor::stack(&[head, tail], 1)?)?.flatten_from(1)
}
