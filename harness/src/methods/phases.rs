//! Training phases the methods share: optimiser steps on batches, epochs over rows.

use candle_core::Tensor;
use candle_core::backprop::GradStore;
use mkgc_models::mode::{DropoutRng, Mode};
use mkgc_models::ops::backward;
use mkgc_models::optim::AdamW;
use rand_chacha::ChaCha8Rng;

use super::Session;
use super::lmc::coefficients;
use crate::config::Softmax;
use crate::data::{Batch, Example, Seen, batches};
use crate::error::{Error, Result};
use crate::learner::Learner;
use crate::seed;

/// What a step minimises, and what happens to the gradients before the optimiser sees them.
pub trait Objective {
    /// A scalar.
    fn loss(&mut self, learner: &Learner, batch: &Batch, allowed: &[bool], mode: &mut Mode<'_>) -> Result<Tensor>;

    /// Named numbers of the newest step, for the log. An objective without any leaves it to [`Trainer`] to measure the
    /// balance of the streams now and then.
    fn scalars(&self) -> Option<Vec<(&'static str, f64)>> {
        None
    }

    /// Changes the gradients in place.
    fn adjust(&mut self, _learner: &Learner, _grads: &mut GradStore) -> Result<()> {
        Ok(())
    }
}

/// The mean loss of the task, gradients as they are.
pub struct TaskLoss;

impl Objective for TaskLoss {
    fn loss(&mut self, learner: &Learner, batch: &Batch, allowed: &[bool], mode: &mut Mode<'_>) -> Result<Tensor> {
        learner.loss(batch, allowed, mode)
    }
}

/// One optimiser step; returns the loss before it.
pub fn update(
    learner: &Learner,
    optimiser: &mut AdamW,
    objective: &mut impl Objective,
    batch: &Batch,
    allowed: &[bool],
    mode: &mut Mode<'_>,
    clip: Option<f64>,
) -> Result<f64> {
    let loss = objective.loss(learner, batch, allowed, mode)?;
    let mut grads = backward(&loss)?;
    objective.adjust(learner, &mut grads)?;
    optimiser.step(&grads, clip)?;
    // Last, so that a GPU is not waited for before it has all its work.
    let value = f64::from(loss.to_scalar::<f32>()?);
    if !value.is_finite() {
        let reason = "lower lr_encoder or lr_head, or check the encoder's weights";
        return Err(Error::Usage(format!("the training loss became {value}: {reason}")));
    }
    Ok(value)
}

/// A phase: its optimiser, its own shuffle and dropout generators, the labels that compete in its loss.
pub struct Trainer<'a> {
    learner: &'a Learner,
    optimiser: &'a mut AdamW,
    dropout: DropoutRng,
    shuffle: ChaCha8Rng,
    allowed: Vec<bool>,
    clip: Option<f64>,
    /// Batches taken.
    batches: usize,
}

/// Name in the log of ρ_vision, what the vision stream gives the gold labels over what the text stream does.
pub const RHO: &str = "rho";

/// Batches between two measurements of ρ by methods that do not need it themselves: each costs a forward pass.
const RHO_EVERY: usize = 50;

impl<'a> Trainer<'a> {
    /// A phase of the task in `seen`; `name` tells apart the phases of one task.
    pub fn new(learner: &'a Learner, optimiser: &'a mut AdamW, seen: &Seen, session: &Session<'_>, name: &str) -> Self {
        let config = session.config;
        let allowed = match config.softmax {
            Softmax::Seen => seen.allowed.clone(),
            Softmax::Current => seen.current.clone(),
            Softmax::All => vec![true; seen.allowed.len()],
        };
        let purpose = |of: &str| if name == CURRENT { of.to_owned() } else { format!("{of}/{name}") };
        Self {
            learner,
            optimiser,
            dropout: DropoutRng::new(seed::derive(config.train_seed, &purpose("dropout"), seen.stage)),
            shuffle: seed::generator(config.train_seed, &purpose("shuffle"), seen.stage),
            allowed,
            clip: (config.clip_norm > 0.0).then_some(config.clip_norm),
            batches: 0,
        }
    }

    /// ρ of every [`RHO_EVERY`]th batch before its step, without dropout, for networks of two streams.
    fn ratio(&mut self, batch: &Batch) -> Result<Option<f64>> {
        let due = self.batches.is_multiple_of(RHO_EVERY);
        self.batches += 1;
        if !due || !self.learner.two_streams() {
            return Ok(None);
        }
        let features = self.learner.forward(batch, &mut Mode::Eval)?.features;
        Ok(coefficients(self.learner, &features, batch, &self.allowed, 0.0)?.ratio)
    }

    /// One optimiser step; returns the loss.
    fn step(
        &mut self,
        session: &mut Session<'_>,
        phase: &str,
        objective: &mut impl Objective,
        batch: &Batch,
    ) -> Result<f64> {
        let mut mode = Mode::Train(&mut self.dropout);
        let value = update(self.learner, self.optimiser, objective, batch, &self.allowed, &mut mode, self.clip)?;
        session.ledger.step(phase, &batch.examples, value);
        Ok(value)
    }

    /// `epochs` passes over `rows` in shuffled batches; `steps` says which steps a batch takes, the last of which gives
    /// the loss to log.
    pub fn epochs<'r>(
        &mut self,
        session: &mut Session<'_>,
        (epochs, rows): (usize, &[&'r Example]),
        objective: &mut impl Objective,
        mut steps: impl FnMut(Vec<&'r Example>) -> Vec<Step<'r>>,
    ) -> Result<()> {
        session.log.phase(epochs * rows.len());
        for epoch in 0..epochs {
            let mut plans = Vec::new();
            for batch in batches(rows, session.config.batch_size, &mut self.shuffle) {
                let size = batch.len();
                let steps = steps(batch);
                let last = steps.len();
                let plan = |((phase, rows), number)| ((phase, (number == last).then_some(size)), rows);
                plans.extend(steps.into_iter().zip(1..).map(plan));
            }
            self.learner.batches(plans, |(phase, done), batch| {
                let measured = if done.is_some() && objective.scalars().is_none() { self.ratio(batch)? } else { None };
                let loss = self.step(session, phase, objective, batch)?;
                let Some(rows) = done else { return Ok(()) };
                let ratio = measured.map(|ratio| (RHO, ratio));
                session.log.scalars(objective.scalars().into_iter().flatten().chain(ratio));
                session.log.step(epoch, rows, loss)
            })?;
        }
        session.log.end_phase()
    }
}

/// A step's phase, and the rows it is on.
pub type Step<'r> = (&'r str, Vec<&'r Example>);

/// Name of the phase on a task's own rows.
pub const CURRENT: &str = "current";

/// A phase with a fresh optimiser that minimises `objective` over `rows`.
pub fn fit(
    learner: &Learner,
    seen: &Seen,
    session: &mut Session<'_>,
    phase: &str,
    passes: (usize, &[&Example]),
    objective: &mut impl Objective,
) -> Result<()> {
    let mut optimiser = session.optimiser(learner)?;
    let mut trainer = Trainer::new(learner, &mut optimiser, seen, session, phase);
    trainer.epochs(session, passes, objective, |batch| vec![(step_name(phase), batch)])
}

/// A phase's name without what tells its repetitions apart.
fn step_name(phase: &str) -> &str {
    phase.split_once('/').map_or(phase, |(name, _)| name)
}

/// References to rows.
pub fn all(rows: &[Example]) -> Vec<&Example> {
    rows.iter().collect()
}
