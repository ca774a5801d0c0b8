//! Metrics: pure functions of stored predictions. Nothing here is computed during training.
//!
//! A score is defined if the test has a gold item that it is about, whatever was predicted. All methods are therefore
//! compared on the same classes and tasks, and a perfect predictor scores 1 wherever there is a score.
//!
//! From the bottom up: [`value`] and [`counts`]; [`relation`], [`span`] and [`confusion`] compare labels; [`tally`] scores
//! one set of predictions of a test file and [`continual`] the matrix over tasks; [`metric`] lists every metric with its
//! key, title, formula and function; [`stage`] applies the list to one test file and [`score`] to a whole run.

pub mod confusion;
pub mod continual;
pub mod counts;
#[cfg(test)]
mod example;
pub mod half;
mod labels;
pub mod masked;
pub mod metric;
pub mod relation;
pub mod score;
pub mod span;
pub mod stage;
pub mod tally;
pub mod value;

pub use counts::Counts;
pub use metric::{MatrixMetric, Metric, StageMetric};
