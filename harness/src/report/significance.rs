//! Computes the sampling intervals, paired tests and ranks of a board's entries from micro-F1 after the last task.

use super::board::{Comparison, Entry};
use super::load::Group;
use crate::metrics::{Counts, Metric, StageMetric};
use crate::stats::Sample;
use crate::stats::interval::bootstrap;
use crate::stats::permutation::{PairedTest, Pairs, holm, tests};

/// Significance level: the accepted probability of any false difference.
pub const ALPHA: f64 = 0.05;

/// Returns the counts of all runs and, for each entry, the indices of its runs among them. Returns `None` if the test has no
/// gold item, so that there is nothing to resample.
fn sample(groups: &[Group]) -> Option<(Sample, Vec<Vec<usize>>)> {
    let counts: Vec<&[Counts]> = groups.iter().flat_map(Group::values).map(|run| run.counts.as_slice()).collect();
    let mut columns = 0..counts.len();
    let columns = groups.iter().map(|group| columns.by_ref().take(group.len()).collect()).collect();
    let gold: usize = counts.first()?.iter().map(|row| row.gold).sum();
    (gold > 0).then(|| (Sample::new(&counts), columns))
}

/// Writes sampling intervals into entries, whose runs are `groups`.
pub fn intervals(entries: &mut [Entry], groups: &[Group]) {
    let found = sample(groups).map(|(sample, columns)| bootstrap(&sample, &columns));
    for (entry, interval) in entries.iter_mut().zip(found.into_iter().flatten()) {
        let last = entry.stages.get_mut(&Metric::Stage(StageMetric::MAIN)).and_then(|stages| stages.last_mut());
        let summary = entry.summary.get_mut(&Metric::RANKING);
        last.into_iter().chain(summary).for_each(|estimate| estimate.sampling_interval = Some(interval));
    }
}

/// Compares all entries, whose runs are `groups`, and writes intervals and ranks into them. If the test has no gold item,
/// no pair is compared and all entries share the first rank.
pub fn compare(entries: &mut [Entry], groups: &[Group]) -> Vec<Comparison> {
    intervals(entries, groups);
    let comparisons = sample(groups).map_or_else(Vec::new, |(sample, columns)| test_pairs(&sample, groups, &columns));
    for (index, entry) in entries.iter_mut().enumerate() {
        entry.rank = Some(1 + comparisons.iter().filter(|comparison| comparison.beats(index)).count());
    }
    comparisons
}

/// Tests each pair of entries.
fn test_pairs(sample: &Sample, groups: &[Group], columns: &[Vec<usize>]) -> Vec<Comparison> {
    let both = |one: usize| (one + 1..groups.len()).map(move |other| (one, other));
    let all: Vec<(usize, usize)> = (0..groups.len()).flat_map(both).collect();
    let pairs: Vec<Pairs> = all.iter().map(|(one, other)| pairs((*one, *other), groups, columns)).collect();
    let tested = tests(sample, &pairs);
    let corrected = holm(&tested.iter().map(|test| test.p).collect::<Vec<_>>());
    let comparison = |(((one, other), test), p_holm): (((usize, usize), PairedTest), f64)| Comparison {
        one,
        other,
        difference: test.difference,
        p: test.p,
        p_holm,
    };
    all.into_iter().zip(tested).zip(corrected).map(comparison).collect()
}

impl Comparison {
    /// Tells whether the difference is significant.
    pub fn significant(&self) -> bool {
        self.p_holm < ALPHA
    }

    /// Tells whether the other side is significantly better than this entry.
    fn beats(&self, entry: usize) -> bool {
        let worse = (self.one == entry && self.difference < 0.0) || (self.other == entry && self.difference > 0.0);
        worse && self.significant()
    }
}

/// Pairs runs by shared seed. If the methods share no seed, pairs them in seed order up to the shorter list.
fn pairs((one, other): (usize, usize), groups: &[Group], columns: &[Vec<usize>]) -> Pairs {
    let index = |group: usize, seed: &u64| groups[group].keys().position(|known| known == seed);
    let shared = groups[one].keys().filter_map(|seed| Some((index(one, seed)?, index(other, seed)?)));
    let mut paired: Vec<(usize, usize)> = shared.collect();
    if paired.is_empty() {
        paired = (0..groups[one].len().min(groups[other].len())).map(|index| (index, index)).collect();
    }
    paired.into_iter().map(|(ours, theirs)| (columns[one][ours], columns[other][theirs])).collect()
}
