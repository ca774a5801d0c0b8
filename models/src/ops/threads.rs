//! Spreads work over the threads of rayon's pool without changing a bit of any result.
//!
//! Work is cut into pieces whose size does not depend on the number of threads, and results come back in the order of
//! the pieces, so every sum runs in the same order on one thread and on many.

use rayon::prelude::*;

/// Values in one piece of work: enough to be worth a thread, few enough to stay in its cache.
pub(super) const PIECE: usize = 1 << 14;

/// Returns how many rows of `width` values make one piece; the last piece of a tensor may have fewer.
pub(super) fn rows_per_piece(width: usize) -> usize {
    (PIECE / width.max(1)).max(1)
}

/// Runs `f` on every piece, on all threads if there is more than one of both, and returns the results in order.
pub(crate) fn run<T: Send, R: Send>(pieces: impl Iterator<Item = T>, f: impl Fn(T) -> R + Sync + Send) -> Vec<R> {
    let pieces: Vec<T> = pieces.collect();
    if rayon::current_num_threads() == 1 || pieces.len() < 2 {
        return pieces.into_iter().map(f).collect();
    }
    pieces.into_par_iter().map(f).collect()
}
