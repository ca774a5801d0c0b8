//! What the methods share: training phases, the replay buffer, prototypes, predictions for whole files.

pub mod balance;
mod kmeans;
pub mod memory;
mod objective;
pub mod predict;
pub mod prototypes;
pub mod schedule;
mod step;
pub mod training;
