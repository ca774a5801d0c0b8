//! Seeded choices by integer arithmetic only, independent of platform and word size.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

/// One reproducible stream of choices.
pub(super) struct Dice(ChaCha8Rng);

impl Dice {
    /// Makes stream number `stream` of `seed`.
    pub(super) fn new(seed: u64, stream: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(stream);
        Self(rng)
    }

    /// Draws an integer in `0..n` (0 for `n` = 0): the high half of a 32 x 32-bit product.
    pub(super) fn below(&mut self, n: usize) -> usize {
        ((u64::from(self.0.next_u32()) * n as u64) >> 32) as usize
    }

    /// Returns true in `percent` of 100 calls on average.
    pub(super) fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// Draws one of `items`, which must not be empty.
    pub(super) fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len())]
    }

    /// Puts `item` at a random place.
    pub(super) fn insert<T>(&mut self, items: &mut Vec<T>, item: T) {
        items.insert(self.below(items.len() + 1), item);
    }

    /// Shuffles items in place by the Fisher-Yates algorithm.
    pub(super) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}
