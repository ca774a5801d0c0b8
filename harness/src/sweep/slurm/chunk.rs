//! Cuts a list of runs into job arrays. `MaxArraySize` of a cluster is one more than the highest index of an array, so
//! a longer list takes several arrays, whose tasks add an offset to their index.

/// One job array: a part of the list of runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chunk {
    /// Position of its first run in the list.
    pub offset: usize,
    /// Number of runs in the array, one for each of its tasks.
    pub len: usize,
    /// How many of its tasks run at a time; all that find room if none.
    pub at_once: Option<usize>,
    /// The earlier array that must have ended before this one starts.
    pub after: Option<usize>,
}

impl Chunk {
    /// Returns the value of sbatch's `--array`.
    pub fn array(&self) -> String {
        let last = self.len - 1;
        self.at_once.map_or_else(|| format!("0-{last}"), |at_once| format!("0-{last}%{at_once}"))
    }
}

/// Cuts `runs` runs into as few arrays as `largest` allows, all of about one length. If at most `at_once` runs may run
/// at a time, the arrays share that number; if there are more arrays than that, the later ones wait for earlier ones to
/// end.
pub(super) fn chunks(runs: usize, largest: usize, at_once: Option<usize>) -> Vec<Chunk> {
    let arrays = runs.div_ceil(largest.max(1));
    let lanes = at_once.map_or(arrays, |at_once| arrays.min(at_once));
    let mut offset = 0;
    let mut chunks = Vec::new();
    for index in 0..arrays {
        let len = share(runs, arrays, index);
        let at_once = at_once.map(|at_once| share(at_once, lanes, index % lanes));
        chunks.push(Chunk { offset, len, at_once, after: index.checked_sub(lanes) });
        offset += len;
    }
    chunks
}

/// Returns how many of `total` things the `index`th of `parts` equal parts has; the first ones have one more.
fn share(total: usize, parts: usize, index: usize) -> usize {
    total / parts + usize::from(index < total % parts)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_list_within_the_limit_is_one_array() {
        let all = chunks(8, 8, None);
        assert_eq!(all, [Chunk { offset: 0, len: 8, at_once: None, after: None }]);
        assert_eq!(all[0].array(), "0-7");
        assert_eq!(chunks(8, 8, Some(3))[0].array(), "0-7%3");
        assert!(chunks(0, 8, Some(3)).is_empty());
    }

    #[test]
    fn arrays_share_the_throttle_and_wait_where_it_is_less_than_they_are() {
        let arrays = |at_once| chunks(10, 4, Some(at_once)).iter().map(Chunk::array).collect::<Vec<_>>();
        assert_eq!(arrays(5), ["0-3%2", "0-2%2", "0-2%1"]);
        assert_eq!(arrays(1), ["0-3%1", "0-2%1", "0-2%1"]);
        let waits = |at_once| chunks(10, 4, Some(at_once)).iter().map(|chunk| chunk.after).collect::<Vec<_>>();
        assert_eq!(waits(5), [None, None, None]);
        assert_eq!(waits(2), [None, None, Some(0)]);
        assert_eq!(waits(1), [None, Some(0), Some(1)]);
    }

    proptest! {
        #[test]
        fn every_run_is_in_one_array_and_no_limit_is_passed(
            runs in 1_usize..3000, largest in 1_usize..1200, at_once in proptest::option::of(1_usize..80),
        ) {
            let chunks = chunks(runs, largest, at_once);
            let mut covered = 0;
            for (index, chunk) in chunks.iter().enumerate() {
                prop_assert_eq!(chunk.offset, covered);
                prop_assert!((1..=largest).contains(&chunk.len) && chunk.at_once.is_none_or(|at_once| at_once > 0));
                prop_assert!(chunk.after.is_none_or(|before| before < index));
                covered += chunk.len;
            }
            prop_assert_eq!(covered, runs);
            prop_assert_eq!(chunks.len(), runs.div_ceil(largest));
            // Arrays that wait for each other never run together, so the first of each lane counts.
            let together = chunks.iter().filter(|chunk| chunk.after.is_none());
            if let Some(at_once) = at_once {
                prop_assert!(together.map(|chunk| chunk.at_once.unwrap()).sum::<usize>() <= at_once);
            }
        }
    }
}
