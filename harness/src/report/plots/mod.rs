//! Plots of a board as SVG.

mod balance;
mod canvas;
mod classes;
mod matrix;
mod scores;
mod series;
mod svg;
mod training;

pub use balance::balance;
pub use classes::{classes, lost};
pub use matrix::matrix;
pub use scores::scores;
pub use series::{Pen, drawn, metrics, pen, reference};
pub use training::training;
