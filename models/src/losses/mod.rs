//! Losses, and what LMC adds to the step of a loss: distillation of attention and modulation of gradients.

mod cross_entropy;
pub mod distillation;
pub mod modulation;

pub use cross_entropy::{masked_cross_entropy, prototype_cross_entropy};
