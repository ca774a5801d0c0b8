//! Majority: the score of not learning anything. It predicts `None` for every row and `O` for every word. Where no
//! training row seen so far is `None` (a relation protocol with `none = "drop"`), it predicts the relation that most of
//! them have. It has no network and takes no optimiser step.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};
use mkgc_builder::corpus::Extraction;

use super::method::{Method, Session};
use super::saved::SavedMethod;
use super::spec::MethodSpec;
use crate::data::{Batch, Task, VisibleLabels};
use crate::error::{Error, Result};
use crate::learner::{Learner, Prediction};
use crate::run::checkpoint::State;

/// `majority`: the score of not learning anything: `None`, or else the most frequent relation, for rows, and `O` for
/// words.
pub const MAJORITY: MethodSpec = MethodSpec {
    about: "predicts None for every row, O for every word; no network is trained",
    settings: &[],
    reopen: reopened,
    ..MethodSpec::new("majority", |session| Ok(Box::new(Majority::new(session))))
};

/// Name of the counts in a checkpoint and in a saved model.
const COUNTS: &str = "counts";

fn reopened(mut saved: SavedMethod) -> Result<Box<dyn Method>> {
    Ok(Box::new(Majority { kind: saved.kind, counts: saved.tensor(COUNTS)?.to_vec1()? }))
}

/// Name of its part of a checkpoint.
const PART: &str = "majority";

/// The number of training rows that have each relation.
pub struct Majority {
    kind: Extraction,
    counts: Vec<u32>,
}

impl Majority {
    /// Starts with no row counted.
    pub fn new(session: &Session<'_>) -> Self {
        Self { kind: session.spec.kind, counts: vec![0; session.spec.labels] }
    }

    /// Returns the label that every row is predicted to have: `None` (0) if any row has it, else the most frequent
    /// label, the first of equals.
    fn label(&self) -> u32 {
        if self.counts[0] > 0 {
            return 0;
        }
        let most = self.counts.iter().max();
        self.counts.iter().position(|count| Some(count) == most).unwrap_or(0) as u32
    }

    /// Predicts the label, with a score of 1 for it, 0 for other labels seen and minus infinity for labels not seen.
    fn relation(&self, seen: &VisibleLabels) -> Prediction {
        let label = self.label();
        let score = |(id, allowed): (u32, &bool)| match (id == label, *allowed) {
            (true, _) => 1.0,
            (false, true) => 0.0,
            (false, false) => f32::NEG_INFINITY,
        };
        Prediction { labels: vec![label], scores: (0u32..).zip(&seen.allowed).map(score).collect() }
    }
}

impl Method for Majority {
    fn learn(&mut self, task: &Task, _: &mut Session<'_>) -> Result<()> {
        if self.kind == Extraction::Relations {
            task.train.iter().for_each(|row| self.counts[row.gold[0] as usize] += 1);
        }
        Ok(())
    }

    fn resumes_inside(&self) -> bool {
        true
    }

    fn learner(&self) -> Option<&Learner> {
        None
    }

    fn predict(&self, batch: &Batch, seen: &VisibleLabels) -> Result<Vec<Prediction>> {
        let outside = |words: usize| Prediction { labels: vec![0; words], scores: vec![] };
        let rows = batch.examples.iter();
        Ok(match self.kind {
            Extraction::Relations => rows.map(|_| self.relation(seen)).collect(),
            Extraction::Entities => rows.map(|row| outside(row.anchors.len())).collect(),
        })
    }

    fn kept(&self) -> Result<BTreeMap<String, Tensor>> {
        let counts = Tensor::new(self.counts.as_slice(), &Device::Cpu)?;
        Ok([(COUNTS.to_owned(), counts)].into())
    }

    fn state(&self) -> Result<State> {
        Ok(State::default().with(PART, self.kept()?))
    }

    fn restore(&mut self, state: &mut State) -> Result<()> {
        let counts = state.take(PART).remove(COUNTS);
        let missing = || Error::Usage("the checkpoint holds no counts of the majority".to_owned());
        self.counts = counts.ok_or_else(missing)?.to_vec1()?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn majority(counts: &[u32]) -> Majority {
        Majority { kind: Extraction::Relations, counts: counts.to_vec() }
    }

    #[test]
    fn none_wins_wherever_it_occurs_and_the_most_frequent_relation_elsewhere() {
        for (counts, label) in [([1, 9, 9], 0), ([0, 2, 5], 2), ([0, 4, 4], 1), ([0, 0, 0], 0)] {
            assert_eq!(majority(&counts).label(), label, "{counts:?}");
        }
    }

    #[test]
    fn scores_choose_the_label_among_those_seen() {
        let seen = VisibleLabels { task: 0, allowed: vec![true, true, false], current: vec![true, true, false] };
        let prediction = majority(&[0, 3, 0]).relation(&seen);
        assert_eq!((prediction.labels, prediction.scores), (vec![1], vec![0.0, 1.0, f32::NEG_INFINITY]));
    }
}
