//! Picks the state of the class token.

use candle_core::{Result, Tensor};

/// Returns the states of the class token, `[B, H]`, of `hidden` `[B, T, H]`.
pub(super) fn class_state(hidden: &Tensor) -> Result<Tensor> {
    hidden.narrow(1, 0, 1)?.squeeze(1)?.contiguous()
}
