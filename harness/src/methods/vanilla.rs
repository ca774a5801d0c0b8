//! Vanilla: sequential fine-tuning on each task's own rows; the floor every method is compared with. On the dual-stream
//! network it is `concat` (late fusion of BERT and a vision transformer), on MKGformer's network `mkgformer`.

use super::phases::{CURRENT, TaskLoss, all, fit};
use super::{Method, Session};
use crate::data::Task;
use crate::error::Result;
use crate::learner::Learner;

/// One network, trained on.
pub struct Vanilla {
    learner: Learner,
}

impl Vanilla {
    /// A fresh network.
    pub fn new(session: &mut Session<'_>) -> Result<Self> {
        Ok(Self { learner: session.learner(0)? })
    }
}

impl Method for Vanilla {
    fn learn(&mut self, task: &Task, session: &mut Session<'_>) -> Result<()> {
        let rows = (session.config.epochs, &*all(&task.train));
        fit(&self.learner, &task.seen, session, CURRENT, rows, &mut TaskLoss)
    }

    fn learner(&self) -> Option<&Learner> {
        Some(&self.learner)
    }
}
