//! Training phases: optimiser steps on batches, epochs over rows.
//!
//! A method hands [`train_task`] or [`train_phase`] an [`Objective`], which is the loss with whatever changes its gradients.
//! Methods whose steps are not one per batch of the task drive a [`Trainer`] themselves.

use candle_core::Tensor;
use candle_core::backprop::GradStore;
use mkgc_models::mode::{DropoutRng, Mode};
use mkgc_models::ops::backward;
use mkgc_models::optim::AdamW;
use rand_chacha::ChaCha8Rng;

use super::balance::{self, RHO};
pub use super::objective::{Objective, TaskLoss, update};
use super::schedule;
use crate::config::Softmax;
use crate::data::{Batch, Example, Task, VisibleLabels, batches};
use crate::error::Result;
use crate::learner::Learner;
use crate::methods::method::Session;
use crate::seed;

/// One batch of a step.
struct StepPart<'r> {
    epoch: usize,
    phase: &'r str,
    /// Share of the step's rows that this batch holds.
    share: f64,
    /// Whether this is the last batch of the step.
    last: bool,
    /// Rows of the task to log after the step.
    done: Option<usize>,
}

/// Splits a step into as few batches of at most `size` rows as hold its rows.
fn parts<'r>(
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

/// Sums over the batches of an unfinished step.
#[derive(Default)]
struct Unfinished<'r> {
    grads: Option<GradStore>,
    loss: f64,
    rows: Vec<&'r Example>,
}

/// The objective of one batch of a step: the loss is weighted with the batch's share of the rows, and the gradients of the
/// previous batches are added.
struct Shared<'a, O> {
    objective: &'a mut O,
    share: f64,
    before: Option<GradStore>,
}

impl<O: Objective> Shared<'_, O> {
    /// Adds the gradients of the previous batches.
    fn add_previous(&mut self, grads: &mut GradStore) -> Result<()> {
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

/// Trains one phase of a task: holds the optimiser, the phase's shuffle and dropout generators, and the labels that
/// compete in the loss.
pub struct Trainer<'a> {
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
            unfinished.loss += f64::from(loss.to_scalar::<f32>()?);
            return Ok(None);
        }
        let rest = update(self.learner, self.optimiser, &mut objective, batch, &self.allowed, &mut mode, self.clip)?;
        let step = std::mem::take(unfinished);
        let loss = step.loss + rest;
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
        let mut taken = 0;
        let mut unfinished = Unfinished::default();
        self.learner.batches(plans, |part, batch| {
            let factor = schedule::factor(session.config, taken, planned);
            self.optimiser.scale_rates(factor);
            session.log.scale_rate(factor);
            let measured = if part.done.is_some() && objective.scalars().is_none() { self.ratio(batch)? } else { None };
            let Some(loss) = self.part(session, &part, objective, batch, &mut unfinished)? else { return Ok(()) };
            taken += 1;
            let Some(rows) = part.done else { return Ok(()) };
            let ratio = measured.map(|ratio| (RHO, ratio));
            session.log.scalars(objective.scalars().into_iter().flatten().chain(ratio));
            session.log.step(part.epoch, rows, loss)
        })?;
        session.log.end_phase()
    }
}

/// An optimiser step that a method asks for.
pub struct Step<'r> {
    /// The step's phase, as the trace records it.
    pub phase: &'r str,
    /// The rows that the step is on.
    pub rows: Vec<&'r Example>,
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
