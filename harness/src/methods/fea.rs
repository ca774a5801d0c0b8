//! Fea, "a frustratingly easy but effective approach" (Wang et al. 2022, arXiv 2209.00243): two phases and a plain head,
//! RP-CRE without its memory network.
//!
//! 1. *Fast adaption*: `epochs` on the task's rows.
//! 2. The task's memory is selected by k-means.
//! 3. *Balanced tuning*: `memory_epochs` on all stored rows, this task's and those of earlier ones, and on nothing else;
//!    after the first task as well.
//!
//! Each phase has a fresh optimiser. The memory holds as many rows of every class, but for `None`, of which every task
//! stores its own.

use super::method::{Method, Session};
use super::shared::memory::Memory;
use super::shared::training::{Passes, TaskLoss, all, train_phase, train_task};
use super::spec::{Keeps, MethodSpec};
use crate::config::settings::{STORED_ROWS, TRAINING};
use crate::data::Task;
use crate::error::Result;
use crate::learner::Learner;

/// `fea`: fast adaption, then balanced tuning on the memory alone (Wang et al. 2022, arXiv 2209.00243).
pub const FEA: MethodSpec = MethodSpec {
    about: "adapts to the task's rows, then fine-tunes on the balanced memory alone",
    source: "Wang et al. 2022 (arXiv 2209.00243)",
    keeps: Keeps::RowsPerClass,
    settings: &[TRAINING, STORED_ROWS, &["memory_epochs", "replay_o"]],
    later_settings: &["replay_o"],
    ..MethodSpec::new("fea", |session| Ok(Box::new(Fea::new(session)?)))
};

/// The network and the replay buffer.
pub struct Fea {
    learner: Learner,
    memory: Memory,
}

impl Fea {
    /// Makes a network and an empty replay buffer.
    pub fn new(session: &mut Session<'_>) -> Result<Self> {
        Ok(Self { learner: session.learner(0)?, memory: Memory::default() })
    }
}

impl Method for Fea {
    fn learn(&mut self, task: &Task, session: &mut Session<'_>) -> Result<()> {
        train_task(&self.learner, task, session, &mut TaskLoss)?;
        self.memory.push(session.select(&self.learner, task)?);
        let rows = self.memory.with_newest(session.masks_outside());
        let balanced = Passes { epochs: session.config.memory_epochs, rows: &all(&rows) };
        train_phase(&self.learner, &task.seen, session, "memory", balanced, &mut TaskLoss)
    }

    fn resumes_inside(&self) -> bool {
        true
    }

    fn learner(&self) -> Option<&Learner> {
        Some(&self.learner)
    }

    fn memory(&self) -> Option<&Memory> {
        Some(&self.memory)
    }

    fn memory_mut(&mut self) -> Option<&mut Memory> {
        Some(&mut self.memory)
    }
}
