//! Joint: after each task a fresh network is trained on the rows of tasks 1..k with the corpus's own labels for every
//! class seen so far. Not continual; the upper bound. The same number of epochs means more steps than any continual
//! method takes (`run.json` counts them). `joint` reads the text alone; `joint-multimodal` is the same on the dual-stream
//! network of `concat`.

use super::method::{Method, Session};
use super::shared::training::{CURRENT, Passes, TaskLoss, all, train_phase};
use super::spec::{Keeps, MethodSpec};
use super::vanilla::CONCAT;
use crate::data::{Example, Task};
use crate::error::Result;
use crate::learner::Learner;

/// `joint`: BERT alone, trained afresh after each task on all rows so far; not continual, the upper bound.
pub const JOINT: MethodSpec = MethodSpec {
    about: "a fresh network on all rows so far with the corpus's own labels; the upper bound",
    keeps: Keeps::AllRows,
    ..MethodSpec::new("joint", |session| Ok(Box::new(Joint::new(session)?)))
};

/// `joint-multimodal`: on the network of `concat`.
pub const JOINT_MULTIMODAL: MethodSpec = MethodSpec {
    name: "joint-multimodal",
    about: "joint on the network of concat; the upper bound of methods that see the pictures",
    source: "-",
    keeps: JOINT.keeps,
    create: JOINT.create,
    ..CONCAT
};

/// The network of the last task learned.
pub struct Joint {
    learner: Learner,
}

impl Joint {
    /// Makes a network, which is replaced at every later task.
    pub fn new(session: &mut Session<'_>) -> Result<Self> {
        Ok(Self { learner: session.learner(0)? })
    }
}

impl Method for Joint {
    fn learn(&mut self, task: &Task, session: &mut Session<'_>) -> Result<()> {
        let stage = task.seen.task;
        if stage > 0 {
            self.learner = session.learner(stage)?;
        }
        let mut rows = Vec::new();
        for earlier in 0..stage {
            rows.extend(session.benchmark.training(earlier, &session.spec.tokenizer)?);
        }
        rows.extend(task.train.iter().cloned());
        let rows: Vec<Example> = rows.into_iter().map(|row| row.with_original(&task.seen.allowed)).collect();
        let passes = Passes { epochs: session.config.epochs, rows: &all(&rows) };
        train_phase(&self.learner, &task.seen, session, CURRENT, passes, &mut TaskLoss)
    }

    fn resumes_inside(&self) -> bool {
        true
    }

    fn learner(&self) -> Option<&Learner> {
        Some(&self.learner)
    }
}
