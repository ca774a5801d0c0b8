//! Optimiser steps as methods ask for them, and the batches that they consist of.

use candle_core::Tensor;
use candle_core::backprop::GradStore;
use mkgc_models::mode::Mode;

use super::objective::Objective;
use crate::data::{Batch, Example};
use crate::error::Result;
use crate::learner::Learner;

/// An optimiser step that a method asks for.
pub struct Step<'r> {
    /// The step's phase, as the trace records it.
    pub phase: &'r str,
    /// The rows that the step is on.
    pub rows: Vec<&'r Example>,
}

/// One batch of a step.
pub(super) struct StepPart<'r> {
    pub epoch: usize,
    pub phase: &'r str,
    /// Share of the step's rows that this batch holds.
    pub share: f64,
    /// Whether this is the last batch of the step.
    pub last: bool,
    /// Rows of the task to log after the step.
    pub done: Option<usize>,
}

/// Splits a step into as few batches of at most `size` rows as hold its rows.
pub(super) fn parts<'r>(
    step: Step<'r>,
    size: usize,
    epoch: usize,
    done: Option<usize>,
) -> impl Iterator<Item = (StepPart<'r>, Vec<&'r Example>)> {
    let Step { phase, rows } = step;
    let count = rows.len();
    let batches = count.div_ceil(size);
    (0..batches).map(move |number| {
        let chunk = rows[number * size..count.min((number + 1) * size)].to_vec();
        let share = chunk.len() as f64 / count as f64;
        let last = number + 1 == batches;
        (StepPart { epoch, phase, share, last, done: done.filter(|_| last) }, chunk)
    })
}

/// What the batches of an unfinished step have given so far: the sum of their gradients, their losses and rows.
#[derive(Default)]
pub(super) struct Unfinished<'r> {
    pub grads: Option<GradStore>,
    pub losses: Vec<Tensor>,
    pub rows: Vec<&'r Example>,
}

/// The objective of one batch of a step: the loss is weighted with the batch's share of the rows, and the gradients of the
/// previous batches are added.
pub(super) struct Shared<'a, O> {
    pub objective: &'a mut O,
    pub share: f64,
    pub before: Option<GradStore>,
}

impl<O: Objective> Shared<'_, O> {
    /// Adds the gradients of the previous batches.
    pub fn add_previous(&mut self, grads: &mut GradStore) -> Result<()> {
        Ok(self.before.take().map_or(Ok(()), |before| grads.extend(before))?)
    }
}

impl<O: Objective> Objective for Shared<'_, O> {
    fn loss(&mut self, learner: &Learner, batch: &Batch, allowed: &[bool], mode: &mut Mode<'_>) -> Result<Tensor> {
        Ok((self.objective.loss(learner, batch, allowed, mode)? * self.share)?)
    }

    fn pending(&self) -> Option<&Tensor> {
        self.objective.pending()
    }

    fn read(&mut self, numbers: &[f32]) {
        self.objective.read(numbers);
    }

    fn adjust(&mut self, learner: &Learner, grads: &mut GradStore) -> Result<()> {
        self.add_previous(grads)?;
        self.objective.adjust(learner, grads)
    }

    fn settle(&mut self) -> Result<()> {
        self.objective.settle()
    }
}
