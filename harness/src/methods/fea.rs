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

use super::memory::{self, Memory};
use super::phases::{CURRENT, TaskLoss, all, fit};
use super::{Method, Session};
use crate::data::Task;
use crate::error::Result;
use crate::learner::Learner;

/// One network and the stored rows of each task learned.
pub struct Fea {
    learner: Learner,
    memory: Memory,
}

impl Fea {
    /// A fresh network, empty memory.
    pub fn new(session: &mut Session<'_>) -> Result<Self> {
        Ok(Self { learner: session.learner(0)?, memory: Memory::default() })
    }
}

impl Method for Fea {
    fn learn(&mut self, task: &Task, session: &mut Session<'_>) -> Result<()> {
        let current = (session.config.epochs, &*all(&task.train));
        fit(&self.learner, &task.seen, session, CURRENT, current, &mut TaskLoss)?;
        self.memory.push(memory::select(&self.learner, task, session)?);
        let rows = self.memory.with_newest(session);
        let balanced = (session.config.memory_epochs, &*all(&rows));
        fit(&self.learner, &task.seen, session, "memory", balanced, &mut TaskLoss)
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
