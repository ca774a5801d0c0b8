//! Statistics of differences between methods: intervals over seeds and over test instances, and paired tests.

pub mod interval;
pub mod permutation;
pub mod sample;

pub use sample::Sample;

/// Seed of all resampling, fixed so that a report repeats to the byte.
const SEED: u64 = 20_170_611;

/// Resamples or permutations drawn from one generator. It is fixed so that results do not depend on the number of threads.
const CHUNK: usize = 250;
