//! Sampling intervals, paired tests and ranks of a board's entries, on micro-F1 after the last task.

use std::collections::BTreeMap;

use super::board::{Comparison, Entry};
use super::load::Run;
use crate::metrics::Counts;
use crate::stats::Sample;
use crate::stats::interval::bootstrap;
use crate::stats::permutation::{Pairs, Test, holm, tests};

/// Chance of a false difference that is accepted.
pub const ALPHA: f64 = 0.05;

/// The test rows of runs by seed, as counts, and which of its columns belong to each entry; `None` where there is nothing to
/// resample: the test has no gold item.
fn sample(groups: &[BTreeMap<u64, Run>]) -> Option<(Sample, Vec<Vec<usize>>)> {
    let counts: Vec<&[Counts]> = groups.iter().flat_map(BTreeMap::values).map(|run| run.counts.as_slice()).collect();
    let mut columns = 0..counts.len();
    let columns = groups.iter().map(|group| columns.by_ref().take(group.len()).collect()).collect();
    let gold: usize = counts.first()?.iter().map(|row| row.gold).sum();
    (gold > 0).then(|| (Sample::new(&counts), columns))
}

/// Writes sampling intervals into entries, whose runs by seed are `groups`.
pub fn intervals(entries: &mut [Entry], groups: &[BTreeMap<u64, Run>]) {
    let found = sample(groups).map(|(sample, columns)| bootstrap(&sample, &columns));
    for (entry, interval) in entries.iter_mut().zip(found.into_iter().flatten()) {
        let last = entry.stages.get_mut("micro_f1").and_then(|stages| stages.last_mut());
        let summary = entry.summary.get_mut("last_micro_f1");
        last.into_iter().chain(summary).for_each(|estimate| estimate.sampling_interval = Some(interval));
    }
}

/// Compares all entries, whose runs by seed are `groups`, and writes intervals and ranks into them. Without a gold item in
/// the test there is no test either, and nobody is before anybody else.
pub fn compare(entries: &mut [Entry], groups: &[BTreeMap<u64, Run>]) -> Vec<Comparison> {
    intervals(entries, groups);
    let comparisons = sample(groups).map_or_else(Vec::new, |(sample, columns)| tested(&sample, groups, &columns));
    for (index, entry) in entries.iter_mut().enumerate() {
        entry.rank = Some(1 + comparisons.iter().filter(|comparison| comparison.beats(index)).count());
    }
    comparisons
}

/// A test of each pair of entries.
fn tested(sample: &Sample, groups: &[BTreeMap<u64, Run>], columns: &[Vec<usize>]) -> Vec<Comparison> {
    let both = |one: usize| (one + 1..groups.len()).map(move |other| (one, other));
    let all: Vec<(usize, usize)> = (0..groups.len()).flat_map(both).collect();
    let pairs: Vec<Pairs> = all.iter().map(|(one, other)| pairs((*one, *other), groups, columns)).collect();
    let tested = tests(sample, &pairs);
    let corrected = holm(&tested.iter().map(|test| test.p).collect::<Vec<_>>());
    let comparison = |(((one, other), test), p_holm): (((usize, usize), Test), f64)| Comparison {
        one,
        other,
        difference: test.difference,
        p: test.p,
        p_holm,
    };
    all.into_iter().zip(tested).zip(corrected).map(comparison).collect()
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
