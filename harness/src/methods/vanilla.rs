//! Vanilla: sequential fine-tuning on each task's own rows; the floor every method is compared with.

use super::phases::Trainer;
use super::{Method, Session, State};
use crate::config::Config;
use crate::data::{Batch, Example, Seen, Task};
use crate::error::Result;
use crate::learner::{Blueprint, Learner, Prediction};
use crate::seed;

/// One network, trained on.
pub struct Vanilla {
    learner: Learner,
}

impl Vanilla {
    /// A fresh network.
    pub fn new(blueprint: &Blueprint, config: &Config) -> Result<Self> {
        Ok(Self { learner: Learner::new(blueprint, config, seed::derive(config.train_seed, "init", 0))? })
    }
}

impl Method for Vanilla {
    fn learn(&mut self, task: &Task, session: &mut Session) -> Result<()> {
        Trainer::new(&self.learner, &task.seen, session)?.epochs(&task.train, session, Trainer::step)
    }

    fn predict(&self, batch: &Batch, seen: &Seen) -> Result<Vec<Prediction>> {
        self.learner.predict(batch, &seen.allowed)
    }

    fn batch<'a>(&self, rows: &[&'a Example]) -> Result<Batch<'a>> {
        self.learner.batch(rows)
    }

    fn state(&self) -> Result<State> {
        Ok(State { tensors: self.learner.params().tensors()?, memory: vec![] })
    }

    fn restore(&mut self, state: State, _: &Session) -> Result<()> {
        Ok(self.learner.params().load(&state.tensors)?)
    }
}
