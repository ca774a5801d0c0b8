//! How sure a difference between methods is: intervals over seeds and over test instances, and paired tests.

pub mod interval;
pub mod permutation;
pub mod sample;

pub use sample::Sample;

/// Seed of all resampling: a report says the same each time.
const SEED: u64 = 20_170_611;

/// Resamples or permutations that one generator makes, whatever the number of threads.
const CHUNK: usize = 250;
