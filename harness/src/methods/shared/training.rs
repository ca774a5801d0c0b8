//! Training phases: optimiser steps on batches, epochs over rows.
//!
//! A method hands [`train_task`] or [`train_phase`] an [`Objective`], which is the loss with whatever changes its gradients.
//! Methods whose steps are not one per batch of the task drive a [`Trainer`] themselves.
//!
//! A phase can be left after any step and entered there in another process: a checkpoint holds the variables, the moments,
//! the positions of the generators and how many steps were taken, and the plan of all steps is made again.

use std::collections::BTreeMap;

use candle_core::{Tensor, Var};
use mkgc_models::mode::{DropoutRng, Mode};
use mkgc_models::ops::backward;
use mkgc_models::optim::AdamW;
use rand_chacha::ChaCha8Rng;

use super::balance::{self, RHO};
pub use super::objective::{Objective, TaskLoss, update};
use super::schedule;
pub use super::step::Step;
use super::step::{Shared, StepPart, Unfinished, parts};
use crate::config::Softmax;
use crate::data::{Batch, Example, Task, VisibleLabels, batches};
use crate::error::{Error, Result};
use crate::learner::Learner;
use crate::methods::journal::{PartProgress, Start};
use crate::methods::method::Session;
use crate::run::checkpoint::{DonePart, State};
use crate::seed;

/// Trains one phase of a task: holds the optimiser, the phase's shuffle and dropout generators, and the labels that
/// compete in the loss.
pub struct Trainer<'a> {
    /// Name of the phase in checkpoints.
    name: String,
    learner: &'a Learner,
    optimiser: &'a mut AdamW,
    dropout: DropoutRng,
    shuffle: ChaCha8Rng,
    allowed: Vec<bool>,
    clip: Option<f64>,
    /// Batches trained on so far.
    batches: usize,
}

/// Batches between two measurements of ρ for methods that do not compute it themselves. Each costs a forward pass.
const RHO_EVERY: usize = 50;

impl<'a> Trainer<'a> {
    /// Prepares a phase of the task that `seen` describes. `name` gives each phase of a task its own generators.
    pub fn new(
        learner: &'a Learner,
        optimiser: &'a mut AdamW,
        seen: &VisibleLabels,
        session: &Session<'_>,
        name: &str,
    ) -> Self {
        let config = session.config;
        let allowed = match config.softmax {
            Softmax::Seen => seen.allowed.clone(),
            Softmax::Current => seen.current.clone(),
            Softmax::All => vec![true; seen.allowed.len()],
        };
        let purpose = |of: &str| if name == CURRENT { of.to_owned() } else { format!("{of}/{name}") };
        Self {
            name: format!("phase {name}"),
            learner,
            optimiser,
            dropout: DropoutRng::new(seed::derive(config.train_seed, &purpose("dropout"), seen.task)),
            shuffle: seed::generator(config.train_seed, &purpose("shuffle"), seen.task),
            allowed,
            clip: (config.clip_norm > 0.0).then_some(config.clip_norm),
            batches: 0,
        }
    }

    /// Measures ρ of every [`RHO_EVERY`]th batch before its step, without dropout; none for networks of one stream.
    fn ratio(&mut self, batch: &Batch) -> Result<Option<f64>> {
        let due = self.batches.is_multiple_of(RHO_EVERY);
        self.batches += 1;
        if !due || !self.learner.two_streams() {
            return Ok(None);
        }
        let forward = self.learner.forward(batch, &mut Mode::Eval)?;
        let ratio = balance::ratio(self.learner, &forward, batch, &self.allowed)?;
        Ok(ratio.is_finite().then_some(ratio))
    }

    /// Adds a batch to a step. With the last one, takes the optimiser step and returns the loss over all rows.
    fn part<'r>(
        &mut self,
        session: &mut Session<'_>,
        part: &StepPart<'_>,
        objective: &mut impl Objective,
        batch: &Batch<'r>,
        unfinished: &mut Unfinished<'r>,
    ) -> Result<Option<f64>> {
        let mut mode = Mode::Train(&mut self.dropout);
        let mut objective = Shared { objective, share: part.share, before: unfinished.grads.take() };
        unfinished.rows.extend(&batch.examples);
        if !part.last {
            let loss = objective.loss(self.learner, batch, &self.allowed, &mut mode)?;
            let mut grads = backward(&loss)?;
            objective.add_previous(&mut grads)?;
            unfinished.grads = Some(grads);
            unfinished.losses.push(loss.detach());
            return Ok(None);
        }
        let rest = update(self.learner, self.optimiser, &mut objective, batch, &self.allowed, &mut mode, self.clip)?;
        let step = std::mem::take(unfinished);
        // Losses are read after the step was taken, because reading waits for the GPU.
        let parts = step.losses.iter().map(|loss| Ok(f64::from(loss.to_scalar::<f32>()?)));
        let loss = parts.sum::<Result<f64>>()? + rest;
        session.trace.step(part.phase, &step.rows, loss);
        Ok(Some(loss))
    }

    /// Trains on `passes` in shuffled batches. `steps` expands a batch into one or more optimiser steps; only the last
    /// step's loss is logged. A step on more rows than a batch holds sums the gradients of several batches, each weighted
    /// with its share of the rows: the gradient of the mean over all rows, with the memory of one batch. The whole phase
    /// is planned first, because a schedule needs to know the number of its steps.
    ///
    /// # Errors
    /// Returns the errors of [`update`] and of the objective, and fails on pictures that cannot be read.
    pub fn epochs<'r>(
        &mut self,
        session: &mut Session<'_>,
        passes: Passes<'_, 'r>,
        objective: &mut impl Objective,
        mut steps: impl FnMut(Vec<&'r Example>) -> Vec<Step<'r>>,
    ) -> Result<()> {
        let before = session.trace.steps;
        let entered = match session.journal.start(&self.name)? {
            Start::Passed(steps) => {
                session.trace.steps += steps;
                return Ok(());
            }
            Start::Anew => None,
            Start::Within(progress) => Some(progress),
        };
        let Passes { epochs, rows } = passes;
        let size = session.config.batch_size;
        session.log.phase(epochs * rows.len());
        let mut plans = Vec::new();
        for epoch in 0..epochs {
            for batch in batches(rows, size, &mut self.shuffle) {
                let rows = batch.len();
                let steps = steps(batch);
                let last = steps.len();
                for (step, number) in steps.into_iter().zip(1..) {
                    plans.extend(parts(step, size, epoch, (number == last).then_some(rows)));
                }
            }
        }
        let planned = plans.iter().filter(|(part, _)| part.last).count();
        let mut taken = entered.map_or(Ok(0), |progress| self.enter(session, objective, progress, planned))?;
        let mut ends = plans.iter().enumerate().filter(|(_, (part, _))| part.last).map(|(at, _)| at + 1);
        let first = taken.checked_sub(1).and_then(|last| ends.nth(last)).unwrap_or(0);
        let left = plans.split_off(first);
        let mut unfinished = Unfinished::default();
        self.learner.batches(left, |part, batch| {
            let factor = schedule::factor(session.config, taken, planned);
            self.optimiser.scale_rates(factor);
            session.log.scale_rate(factor);
            let measured = if part.done.is_some() && objective.scalars().is_none() { self.ratio(batch)? } else { None };
            let Some(loss) = self.part(session, &part, objective, batch, &mut unfinished)? else { return Ok(()) };
            taken += 1;
            if let Some(rows) = part.done {
                let ratio = measured.map(|ratio| (RHO, ratio));
                session.log.scalars(objective.scalars().into_iter().flatten().chain(ratio));
                session.log.step(part.epoch, rows, loss)?;
            }
            session.journal.step(&*session.log, || self.progress(objective, taken))
        })?;
        session.log.end_phase()?;
        let steps = session.trace.steps - before;
        let passed = session.journal.passed();
        session.journal.finish(passed, DonePart { name: self.name.clone(), steps, value: State::default() });
        Ok(())
    }

    /// Returns the state of the phase after `taken` of its steps.
    fn progress(&mut self, objective: &mut impl Objective, taken: usize) -> Result<PartProgress> {
        let vars = self.optimiser.vars().map(|(name, var)| (name.clone(), var.as_tensor().clone())).collect();
        let state = State::default().with(VARIABLES, vars).with(OPTIMISER, self.optimiser.state()?);
        let mut numbers = BTreeMap::from([
            (TAKEN.to_owned(), taken as u64),
            (BATCHES.to_owned(), self.batches as u64),
            (DROPOUT.to_owned(), position(self.dropout.generator())),
        ]);
        numbers.extend(objective.generator().map(|generator| (OBJECTIVE.to_owned(), position(generator))));
        Ok(PartProgress { state, numbers })
    }

    /// Puts the phase of so many steps into a state that [`Trainer::progress`] returned, and returns the number of steps
    /// taken.
    fn enter(
        &mut self,
        session: &mut Session<'_>,
        objective: &mut impl Objective,
        progress: PartProgress,
        planned: usize,
    ) -> Result<usize> {
        let PartProgress { mut state, numbers } = progress;
        let number = |name: &str| {
            let missing = || Error::Usage(format!("the checkpoint inside the task holds no number `{name}`"));
            numbers.get(name).copied().ok_or_else(missing)
        };
        let taken = number(TAKEN)? as usize;
        if taken > planned {
            let reason = format!("the checkpoint inside the task is after step {taken} of a phase of {planned} steps");
            return Err(Error::Usage(reason));
        }
        set_all(self.optimiser.vars(), &state.take(VARIABLES))?;
        self.optimiser.load_state(&state.take(OPTIMISER))?;
        self.batches = number(BATCHES)? as usize;
        self.dropout.generator().set_word_pos(number(DROPOUT)?.into());
        if let Some(generator) = objective.generator() {
            generator.set_word_pos(number(OBJECTIVE)?.into());
        }
        session.trace.steps += taken;
        session.resume_log();
        Ok(taken)
    }
}

/// Parts and numbers of the state of a phase.
const VARIABLES: &str = "variables";
const OPTIMISER: &str = "optimiser";
const TAKEN: &str = "taken";
const BATCHES: &str = "batches";
const DROPOUT: &str = "dropout";
const OBJECTIVE: &str = "objective";

/// Returns the position of a generator: words drawn, which stay far below 2⁶⁴.
fn position(generator: &ChaCha8Rng) -> u64 {
    generator.get_word_pos() as u64
}

/// Sets variables to the values of their names.
///
/// # Errors
/// A variable has no value, or one of another shape.
pub(crate) fn set_all<'v>(
    vars: impl Iterator<Item = &'v (String, Var)>,
    values: &BTreeMap<String, Tensor>,
) -> Result<()> {
    for (name, var) in vars {
        let missing = || Error::Usage(format!("the checkpoint inside the task holds no value of `{name}`"));
        var.set(values.get(name).ok_or_else(missing)?)?;
    }
    Ok(())
}

/// Name of the phase that trains on a task's own rows.
pub const CURRENT: &str = "current";

/// Rows to train on, and how often.
#[derive(Clone, Copy)]
pub struct Passes<'a, 'r> {
    /// Number of passes over the rows.
    pub epochs: usize,
    /// The rows, which are shuffled before each pass.
    pub rows: &'a [&'r Example],
}

/// Trains `epochs` passes over a task's own rows, one step per batch, with a new optimiser: the [`CURRENT`] phase.
///
/// # Errors
/// Returns the errors of [`Trainer::epochs`].
pub fn train_task(
    learner: &Learner,
    task: &Task,
    session: &mut Session<'_>,
    objective: &mut impl Objective,
) -> Result<()> {
    let rows = all(&task.train);
    let passes = Passes { epochs: session.config.epochs, rows: &rows };
    train_phase(learner, &task.seen, session, CURRENT, passes, objective)
}

/// Trains a phase, one step per batch, with a new optimiser.
///
/// # Errors
/// Returns the errors of [`Trainer::epochs`].
pub fn train_phase(
    learner: &Learner,
    seen: &VisibleLabels,
    session: &mut Session<'_>,
    phase: &str,
    passes: Passes<'_, '_>,
    objective: &mut impl Objective,
) -> Result<()> {
    let mut optimiser = session.optimiser(learner)?;
    let mut trainer = Trainer::new(learner, &mut optimiser, seen, session, phase);
    trainer.epochs(session, passes, objective, |rows| vec![Step { phase: step_name(phase), rows }])
}

/// Returns a phase's name without the number of its repetition.
fn step_name(phase: &str) -> &str {
    phase.split_once('/').map_or(phase, |(name, _)| name)
}

/// Returns references to rows, in their order.
pub fn all(rows: &[Example]) -> Vec<&Example> {
    rows.iter().collect()
}
