//! What an optimiser step minimises, and the step itself.

use candle_core::Tensor;
use candle_core::backprop::GradStore;
use mkgc_models::mode::Mode;
use mkgc_models::ops::backward;
use mkgc_models::optim::AdamW;
use rand_chacha::ChaCha8Rng;

use crate::data::Batch;
use crate::error::{Error, Result};
use crate::learner::Learner;

/// What a step minimises, and how the gradients are changed before the optimiser sees them.
pub trait Objective {
    /// Returns the loss, a scalar. Where a step may be on more rows than a batch holds, it must be the mean over the rows.
    ///
    /// # Errors
    /// The device is out of memory.
    fn loss(&mut self, learner: &Learner, batch: &Batch, allowed: &[bool], mode: &mut Mode<'_>) -> Result<Tensor>;

    /// Returns named numbers of the newest step for the log. If there are none, [`super::training::Trainer`] measures the
    /// balance of the streams on every 50th batch.
    fn scalars(&self) -> Option<Vec<(&'static str, f64)>> {
        None
    }

    /// Returns numbers of the newest step that are still on a GPU, `[N]` f32. [`update`] reads them together with the loss,
    /// so that a step waits for the GPU once, and passes them to [`Objective::read`].
    fn pending(&self) -> Option<&Tensor> {
        None
    }

    /// Receives the numbers of [`Objective::pending`].
    fn read(&mut self, _numbers: &[f32]) {}

    /// Returns the generator that the objective draws from, whose position is part of checkpoints inside a task.
    fn generator(&mut self) -> Option<&mut ChaCha8Rng> {
        None
    }

    /// Changes the gradients in place, before they are clipped.
    ///
    /// # Errors
    /// The device is out of memory.
    fn adjust(&mut self, _learner: &Learner, _grads: &mut GradStore) -> Result<()> {
        Ok(())
    }

    /// Restores what the optimiser must not change, after its step.
    ///
    /// # Errors
    /// The device is out of memory.
    fn settle(&mut self) -> Result<()> {
        Ok(())
    }
}

/// The mean loss of the task; gradients are left as they are.
pub struct TaskLoss;

impl Objective for TaskLoss {
    fn loss(&mut self, learner: &Learner, batch: &Batch, allowed: &[bool], mode: &mut Mode<'_>) -> Result<Tensor> {
        learner.loss(batch, allowed, mode)
    }
}

/// Takes one optimiser step on a batch and returns the loss before it.
///
/// # Errors
/// [`Error::Diverged`] if the loss is not finite.
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
    // Read last: reading waits for the GPU, which should have all its work by then.
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
