//! A method that a gate must catch.

use mkgc_harness::data::{Batch, Example, Seen, Task};
use mkgc_harness::error::Result;
use mkgc_harness::learner::{Learner, Prediction};
use mkgc_harness::methods::memory::Memory;
use mkgc_harness::methods::{self, Method, Session, State};

/// A method with a planted bug: the rows it stores lose their labels, as if they were masked with those of a later task.
pub struct Unlabelled(Box<dyn Method>);

impl Unlabelled {
    /// As [`methods::create`].
    pub fn create(name: &str, session: &mut Session<'_>) -> Result<Box<dyn Method>> {
        Ok(Box::new(Self(methods::create(name, session)?)))
    }
}

impl Method for Unlabelled {
    fn learn(&mut self, task: &Task, session: &mut Session<'_>) -> Result<()> {
        self.0.learn(task, session)?;
        let memory = self.0.memory_mut().unwrap();
        let unlabelled = |row: &Example| Example { gold: vec![0; row.gold.len()], ..row.clone() };
        memory.replace_last(memory.newest().iter().map(unlabelled).collect());
        Ok(())
    }

    fn learner(&self) -> Option<&Learner> {
        self.0.learner()
    }

    fn memory(&self) -> Option<&Memory> {
        self.0.memory()
    }

    fn memory_mut(&mut self) -> Option<&mut Memory> {
        self.0.memory_mut()
    }

    fn predict(&self, batch: &Batch, seen: &Seen) -> Result<Vec<Prediction>> {
        self.0.predict(batch, seen)
    }

    fn state(&self) -> Result<State> {
        self.0.state()
    }

    fn restore(&mut self, state: &mut State) -> Result<()> {
        self.0.restore(state)
    }
}
