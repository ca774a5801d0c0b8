//! Joint: after each task a fresh network is trained on the rows of tasks 1..k with the corpus's own labels for every
//! class seen so far. Not continual; the upper bound. The same number of epochs means more steps than any continual
//! method takes (`run.json` counts them). `joint` reads the text alone; `joint-multimodal` is the same on the dual-stream
//! network of `concat`.

use super::phases::{CURRENT, TaskLoss, all, fit};
use super::{Method, Session};
use crate::data::{Example, Task};
use crate::error::Result;
use crate::learner::Learner;

/// The network of the last task learned.
pub struct Joint {
    learner: Learner,
}

impl Joint {
    /// A fresh network, replaced at every later task.
    pub fn new(session: &mut Session<'_>) -> Result<Self> {
        Ok(Self { learner: session.learner(0)? })
    }
}

impl Method for Joint {
    fn learn(&mut self, task: &Task, session: &mut Session<'_>) -> Result<()> {
        let stage = task.seen.stage;
        if stage > 0 {
            self.learner = session.learner(stage)?;
        }
        let mut rows = Vec::new();
        for earlier in 0..stage {
            rows.extend(session.benchmark.training(earlier, &session.blueprint.tokenizer)?);
        }
        rows.extend(task.train.iter().cloned());
        let rows: Vec<Example> = rows.into_iter().map(|row| row.with_original(&task.seen.allowed)).collect();
        let rows = (session.config.epochs, &*all(&rows));
        fit(&self.learner, &task.seen, session, CURRENT, rows, &mut TaskLoss)
    }

    fn learner(&self) -> Option<&Learner> {
        Some(&self.learner)
    }
}
