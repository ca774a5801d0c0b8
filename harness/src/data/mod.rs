//! From a benchmark folder to batches: rows are tokenised once, grouped by length and padded per batch.

pub mod batch;
mod benchmark;
pub mod cache;
pub mod example;
mod pictures;

pub use batch::{Batch, batches};
pub use benchmark::{Benchmark, Task, VisibleLabels};
pub use example::{Example, UNKNOWN};
pub use pictures::Pictures;
