//! A method that a gate must catch.

use mkgc_harness::data::{Batch, Example, Task, VisibleLabels};
use mkgc_harness::error::Result;
use mkgc_harness::learner::{Learner, Prediction};
use mkgc_harness::methods::shared::memory::Memory;
use mkgc_harness::methods::{Method, MethodSpec, Session, State, registry};

/// A method with a planted bug: the rows it stores lose their labels, as if they were masked with those of a later task.
pub struct Unlabelled(Box<dyn Method>);

impl Unlabelled {
    /// `emr` with the bug.
    pub fn spec() -> MethodSpec {
        let create = |session: &mut Session<'_>| -> Result<Box<dyn Method>> {
            Ok(Box::new(Self((registry::find("emr")?.create)(session)?)))
        };
        MethodSpec { create, ..*registry::find("emr").unwrap() }
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

    fn predict(&self, batch: &Batch, seen: &VisibleLabels) -> Result<Vec<Prediction>> {
        self.0.predict(batch, seen)
    }

    fn state(&self) -> Result<State> {
        self.0.state()
    }

    fn restore(&mut self, state: &mut State) -> Result<()> {
        self.0.restore(state)
    }
}
