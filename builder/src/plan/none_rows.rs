//! Deals the rows without a class to the tasks.

use std::ops::Range;

use crate::protocol::NonePolicy;

/// The rows without a class of one split, numbered in file order, and the rule that deals them to tasks.
pub struct NoneRows {
    pub policy: NonePolicy,
    /// Number of rows without a class.
    pub rows: usize,
    pub tasks: usize,
}

impl NoneRows {
    /// Returns the size of a chunk under [`NonePolicy::Split`]: ⌈rows / tasks⌉; the last chunk takes what remains.
    fn chunk(&self) -> usize {
        self.rows.div_ceil(self.tasks).max(1)
    }

    /// Returns the range of rows that tasks `from..=to` hold.
    pub fn held_by(&self, from: usize, to: usize) -> Range<usize> {
        match self.policy {
            NonePolicy::All => 0..self.rows,
            NonePolicy::Drop => 0..0,
            NonePolicy::Split => (from * self.chunk()).min(self.rows)..((to + 1) * self.chunk()).min(self.rows),
        }
    }

    /// Returns the task that owns a row, if a single one does.
    pub fn owner(&self, row: usize) -> Option<usize> {
        (self.policy == NonePolicy::Split).then(|| row / self.chunk())
    }
}
