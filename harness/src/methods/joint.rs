//! Joint: after each task a fresh network is trained on the rows of tasks 1..k with the corpus's own labels for every
//! class seen so far. Not continual; the upper bound. The same number of epochs means more steps than any continual
//! method takes (`metrics.jsonl` counts them).

use super::phases::Trainer;
use super::{Method, Session, State};
use crate::config::Config;
use crate::data::{Batch, Example, Seen, Task};
use crate::error::Result;
use crate::learner::{Blueprint, Learner, Prediction};
use crate::seed;

/// The network of the last task learned.
pub struct Joint {
    learner: Learner,
}

impl Joint {
    /// A fresh network, replaced at every task.
    pub fn new(blueprint: &Blueprint, config: &Config) -> Result<Self> {
        Ok(Self { learner: Learner::new(blueprint, config, seed::derive(config.train_seed, "init", 0))? })
    }
}

impl Method for Joint {
    fn learn(&mut self, task: &Task, session: &mut Session) -> Result<()> {
        let (stage, config) = (task.seen.stage, session.config);
        self.learner = Learner::new(session.blueprint, config, seed::derive(config.train_seed, "init", stage))?;
        let mut rows = Vec::new();
        for earlier in 0..stage {
            rows.extend(session.benchmark.training(earlier, &session.blueprint.tokenizer)?);
        }
        rows.extend(task.train.iter().cloned());
        let rows: Vec<Example> = rows.into_iter().map(|row| row.with_original(&task.seen.allowed)).collect();
        Trainer::new(&self.learner, &task.seen, session)?.epochs(&rows, session, Trainer::step)
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
