//! One seeded generator per purpose, derived by name from `train_seed`, so that adding a draw in one place never
//! shifts the draws of another.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use sha2::{Digest, Sha256};

/// The seed of a purpose such as `"shuffle"` at a stage: the first 8 bytes of SHA-256 over name, seed and stage.
pub fn derive(train_seed: u64, purpose: &str, stage: usize) -> u64 {
    let digest = Sha256::digest(format!("{purpose}/{train_seed}/{stage}"));
    digest.iter().take(8).fold(0, |seed, byte| (seed << 8) | u64::from(*byte))
}

/// A generator for a purpose at a stage.
pub fn generator(train_seed: u64, purpose: &str, stage: usize) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(derive(train_seed, purpose, stage))
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
