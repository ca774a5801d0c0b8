//! Random generators, one per purpose and task, derived by name from `train_seed`: a new draw in one place never shifts
//! the draws of another.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use sha2::{Digest, Sha256};

/// Derives the seed of a purpose such as `"shuffle"` in a task: the first 8 bytes of SHA-256 over name, seed and task.
pub fn derive(train_seed: u64, purpose: &str, task: usize) -> u64 {
    let digest = Sha256::digest(format!("{purpose}/{train_seed}/{task}"));
    digest.iter().take(8).fold(0, |seed, byte| (seed << 8) | u64::from(*byte))
}

/// Makes the generator of a purpose in a task.
pub fn generator(train_seed: u64, purpose: &str, task: usize) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(derive(train_seed, purpose, task))
}

#[cfg(test)]
mod tests {
    use super::derive;

    #[test]
    fn every_argument_changes_the_seed() {
        let base = derive(1, "init", 0);
        assert_eq!(base, derive(1, "init", 0));
        assert_ne!(base, derive(2, "init", 0));
        assert_ne!(base, derive(1, "dropout", 0));
        assert_ne!(base, derive(1, "init", 1));
    }
}
