//! Sampling intervals, paired tests and ranks of a board's entries, on micro-F1 after the last task.

use std::collections::BTreeMap;

use super::board::{Comparison, Entry};
use super::load::Run;
use crate::metrics::Counts;
use crate::stats::Sample;
use crate::stats::interval::bootstrap;
use crate::stats::permutation::{Pairs, holm, tests};

/// Chance of a false difference that is accepted.
pub const ALPHA: f64 = 0.05;

/// Compares all entries, whose runs by seed are `groups`, and writes intervals and ranks into them.
pub fn compare(entries: &mut [Entry], groups: &[BTreeMap<u64, Run>]) -> Vec<Comparison> {
    let counts: Vec<&[Counts]> = groups.iter().flat_map(BTreeMap::values).map(|run| run.counts.as_slice()).collect();
    let sample = Sample::new(&counts);
    let mut columns = 0..counts.len();
    let columns: Vec<Vec<usize>> = groups.iter().map(|group| columns.by_ref().take(group.len()).collect()).collect();
    for (entry, interval) in entries.iter_mut().zip(bootstrap(&sample, &columns)) {
        let last = entry.stages.get_mut("micro_f1").and_then(|stages| stages.last_mut());
        let summary = entry.summary.get_mut("last_micro_f1");
        last.into_iter().chain(summary).for_each(|estimate| estimate.sampling_interval = Some(interval));
    }
    let both = |one: usize| (one + 1..groups.len()).map(move |other| (one, other));
    let all: Vec<(usize, usize)> = (0..groups.len()).flat_map(both).collect();
    let pairs: Vec<Pairs> = all.iter().map(|(one, other)| pairs((*one, *other), groups, &columns)).collect();
    let tested = tests(&sample, &pairs);
    let corrected = holm(&tested.iter().map(|test| test.p).collect::<Vec<_>>());
    let mut comparisons = Vec::new();
    for (((one, other), test), p_holm) in all.into_iter().zip(tested).zip(corrected) {
        comparisons.push(Comparison { one, other, difference: test.difference, p: test.p, p_holm });
    }
    for (index, entry) in entries.iter_mut().enumerate() {
        entry.rank = 1 + comparisons.iter().filter(|comparison| comparison.beats(index)).count();
    }
    comparisons
}

impl Comparison {
    /// Is the difference significant?
    pub fn significant(&self) -> bool {
        self.p_holm < ALPHA
    }

    /// Is the other side significantly better than this entry?
    fn beats(&self, entry: usize) -> bool {
        let worse = (self.one == entry && self.difference < 0.0) || (self.other == entry && self.difference > 0.0);
        worse && self.significant()
    }
}

/// Runs of the seeds both have; where they share none, in the order of seeds as far as both go.
fn pairs((one, other): (usize, usize), groups: &[BTreeMap<u64, Run>], columns: &[Vec<usize>]) -> Pairs {
    let place = |group: usize, seed: &u64| groups[group].keys().position(|known| known == seed);
    let shared = groups[one].keys().filter_map(|seed| Some((place(one, seed)?, place(other, seed)?)));
    let mut places: Vec<(usize, usize)> = shared.collect();
    if places.is_empty() {
        places = (0..groups[one].len().min(groups[other].len())).map(|index| (index, index)).collect();
    }
    places.into_iter().map(|(ours, theirs)| (columns[one][ours], columns[other][theirs])).collect()
}
