//! Training phases the methods share: optimiser steps on batches, epochs over rows.

use candle_core::Tensor;
use candle_core::backprop::GradStore;
use mkgc_models::mode::{DropoutRng, Mode};
use mkgc_models::ops::backward;
use mkgc_models::optim::AdamW;
use rand_chacha::ChaCha8Rng;

use super::{Session, lmc, schedule};
use crate::config::Softmax;
use crate::data::{Batch, Example, Seen, batches};
use crate::error::{Error, Result};
use crate::learner::Learner;
use crate::seed;

/// What a step minimises, and what happens to the gradients before the optimiser sees them.
pub trait Objective {
    /// A scalar: the mean over the rows of the batch, where steps are on more rows than a batch holds.
    fn loss(&mut self, learner: &Learner, batch: &Batch, allowed: &[bool], mode: &mut Mode<'_>) -> Result<Tensor>;

    /// Named numbers of the newest step, for the log. An objective without any leaves it to [`Trainer`] to measure the
    /// balance of the streams now and then.
    fn scalars(&self) -> Option<Vec<(&'static str, f64)>> {
        None
    }

    /// Numbers of the newest step that are still on a GPU, `[N]` f32: [`update`] reads them together with the loss, in the
    /// one wait of a step, and hands them to [`Objective::read`].
    fn pending(&self) -> Option<&Tensor> {
        None
    }

    /// Takes the numbers of [`Objective::pending`].
    fn read(&mut self, _numbers: &[f32]) {}

    /// Changes the gradients in place.
    fn adjust(&mut self, _learner: &Learner, _grads: &mut GradStore) -> Result<()> {
        Ok(())
    }

    /// Puts back what the optimiser must not have changed.
    fn settle(&mut self) -> Result<()> {
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
    objective.settle()?;
    // Last, so that a GPU is not waited for before it has all its work.
    let mut numbers = loss.reshape(1)?;
    if let Some(pending) = objective.pending() {
        numbers = Tensor::cat(&[&numbers, pending], 0)?;
    }
    let numbers = numbers.to_vec1::<f32>()?;
    objective.read(&numbers[1..]);
    let value = f64::from(numbers[0]);
    if !value.is_finite() {
        return Err(Error::Diverged(value));
    }
    Ok(value)
}

/// One batch of a step.
struct Part<'r> {
    epoch: usize,
    phase: &'r str,
    /// Its share of the rows of the step.
    share: f64,
    /// Whether the step is complete with it.
    last: bool,
    /// Rows to log then.
    done: Option<usize>,
}

/// A step in as few batches of at most `size` rows as hold its rows.
fn parts<'r>(
    (phase, rows): Step<'r>,
    size: usize,
    (epoch, done): (usize, Option<usize>),
) -> impl Iterator<Item = (Part<'r>, Vec<&'r Example>)> {
    let (count, batches) = (rows.len(), rows.len().div_ceil(size));
    (0..batches).map(move |number| {
        let own = rows[number * size..count.min((number + 1) * size)].to_vec();
        let (share, last) = (own.len() as f64 / count as f64, number + 1 == batches);
        (Part { epoch, phase, share, last, done: done.filter(|_| last) }, own)
    })
}

/// What the batches of an unfinished step have given.
#[derive(Default)]
struct Gathered<'r> {
    grads: Option<GradStore>,
    loss: f64,
    rows: Vec<&'r Example>,
}

/// An objective of which a batch is but a part: its loss counts with the batch's share of the rows, and the gradients of
/// the batches before are added to its own.
struct Shared<'a, O> {
    objective: &'a mut O,
    share: f64,
    before: Option<GradStore>,
}

impl<O: Objective> Shared<'_, O> {
    fn gather(&mut self, grads: &mut GradStore) -> Result<()> {
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
        self.gather(grads)?;
        self.objective.adjust(learner, grads)
    }

    fn settle(&mut self) -> Result<()> {
        self.objective.settle()
    }
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
        let forward = self.learner.forward(batch, &mut Mode::Eval)?;
        let ratio = lmc::ratio(self.learner, &forward, batch, &self.allowed)?;
        Ok(ratio.is_finite().then_some(ratio))
    }

    /// A batch of a step; with the last one the optimiser moves, and the loss over all rows is returned.
    fn part<'r>(
        &mut self,
        session: &mut Session<'_>,
        part: &Part<'_>,
        objective: &mut impl Objective,
        batch: &Batch<'r>,
        gathered: &mut Gathered<'r>,
    ) -> Result<Option<f64>> {
        let mut mode = Mode::Train(&mut self.dropout);
        let mut objective = Shared { objective, share: part.share, before: gathered.grads.take() };
        gathered.rows.extend(&batch.examples);
        if !part.last {
            let loss = objective.loss(self.learner, batch, &self.allowed, &mut mode)?;
            let mut grads = backward(&loss)?;
            objective.gather(&mut grads)?;
            gathered.grads = Some(grads);
            gathered.loss += f64::from(loss.to_scalar::<f32>()?);
            return Ok(None);
        }
        let own = update(self.learner, self.optimiser, &mut objective, batch, &self.allowed, &mut mode, self.clip)?;
        let step = std::mem::take(gathered);
        let loss = step.loss + own;
        session.ledger.step(part.phase, &step.rows, loss);
        Ok(Some(loss))
    }

    /// `epochs` passes over `rows` in shuffled batches; `steps` says which steps a batch takes, the last of which gives
    /// the loss to log. A step on more rows than a batch holds adds up the gradients of several batches, each weighted
    /// with its share of the rows: the gradient of the mean over all rows, with the memory of one batch. The whole phase
    /// is planned first, because a schedule needs to know the number of its steps.
    pub fn epochs<'r>(
        &mut self,
        session: &mut Session<'_>,
        (epochs, rows): (usize, &[&'r Example]),
        objective: &mut impl Objective,
        mut steps: impl FnMut(Vec<&'r Example>) -> Vec<Step<'r>>,
    ) -> Result<()> {
        let size = session.config.batch_size;
        session.log.phase(epochs * rows.len());
        let mut plans = Vec::new();
        for epoch in 0..epochs {
            for batch in batches(rows, size, &mut self.shuffle) {
                let rows = batch.len();
                let steps = steps(batch);
                let last = steps.len();
                for (step, number) in steps.into_iter().zip(1..) {
                    plans.extend(parts(step, size, (epoch, (number == last).then_some(rows))));
                }
            }
        }
        let planned = plans.iter().filter(|(part, _)| part.last).count();
        let (mut taken, mut gathered) = (0, Gathered::default());
        self.learner.batches(plans, |part, batch| {
            let factor = schedule::factor(session.config, taken, planned);
            self.optimiser.scale_rates(factor);
            session.log.scale_rate(factor);
            let measured = if part.done.is_some() && objective.scalars().is_none() { self.ratio(batch)? } else { None };
            let Some(loss) = self.part(session, &part, objective, batch, &mut gathered)? else { return Ok(()) };
            taken += 1;
            let Some(rows) = part.done else { return Ok(()) };
            let ratio = measured.map(|ratio| (RHO, ratio));
            session.log.scalars(objective.scalars().into_iter().flatten().chain(ratio));
            session.log.step(part.epoch, rows, loss)
        })?;
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
