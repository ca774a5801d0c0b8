//! Picks the states that a head reads. A last layer that computes only these saves most of its feed-forward part.

use candle_core::{Result, Tensor};

/// Returns the states `[B, A, H]` of `hidden` `[B, T, H]` at positions `[B, A]` u32.
///
/// # Errors
/// The shapes do not match, or a position is not below `T`.
pub fn states_at(hidden: &Tensor, positions: &Tensor) -> Result<Tensor> {
    let (rows, pieces, size) = hidden.dims3()?;
    let (_, anchors) = positions.dims2()?;
    let starts: Vec<u32> = (0..rows as u32).map(|row| row * pieces as u32).collect();
    let index = positions.broadcast_add(&Tensor::from_vec(starts, (rows, 1), hidden.device())?)?;
    hidden.reshape((rows * pieces, size))?.index_select(&index.flatten_all()?, 0)?.reshape((rows, anchors, size))
}
