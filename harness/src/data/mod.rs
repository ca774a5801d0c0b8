//! From a built benchmark to batches: rows are tokenised once, grouped by length and padded per batch.

pub mod batch;
pub mod cache;
pub mod example;
mod pictures;
mod stage;

pub use batch::{Batch, batches};
pub use example::{Example, UNKNOWN};
pub use pictures::Pictures;
pub use stage::{Benchmark, Seen, Task};
