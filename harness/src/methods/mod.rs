//! The continual-learning methods. Adding one: a file with a type that implements [`Method`], and a line in
//! [`NAMES`] and [`create`].

mod emr;
mod joint;
mod kmeans;
mod memory;
mod phases;
mod vanilla;

use std::collections::BTreeMap;

use candle_core::Tensor;

use crate::config::{Config, unknown};
use crate::data::{Batch, Benchmark, Seen, Task};
use crate::error::{Error, Result};
use crate::learner::{Blueprint, Prediction};
use crate::run::log::Log;

/// Names accepted by `mkgc train --method`, in the order of reports.
pub const NAMES: &[&str] = &["vanilla", "emr", "joint"];

/// A method's place in reports; unknown ones come last.
pub fn place(name: &str) -> usize {
    NAMES.iter().position(|known| *known == name).unwrap_or(NAMES.len())
}

/// What a method needs while it learns.
pub struct Session<'a> {
    /// Shape of fresh networks.
    pub blueprint: &'a Blueprint,
    /// Settings of the run.
    pub config: &'a Config,
    /// The benchmark, for methods that may look back at whole tasks.
    pub benchmark: &'a Benchmark,
    /// Progress and `metrics.jsonl`.
    pub log: &'a mut Log,
}

/// A method's memory between tasks, for checkpoints.
#[derive(Debug, Clone, Default)]
pub struct State {
    /// Named tensors.
    pub tensors: BTreeMap<String, Tensor>,
    /// Ids of stored rows, per task.
    pub memory: Vec<Vec<String>>,
}

/// A continual-learning method: learns tasks one after another and predicts over the labels seen so far.
pub trait Method {
    /// Everything the method does with a task's data.
    fn learn(&mut self, task: &Task, session: &mut Session) -> Result<()>;
    /// Predictions for a batch, among `seen.allowed`.
    fn predict(&self, batch: &Batch, seen: &Seen) -> Result<Vec<Prediction>>;
    /// Pads rows for [`Method::predict`].
    fn batch<'a>(&self, rows: &[&'a crate::data::Example]) -> Result<Batch<'a>>;
    /// What a later process needs to go on after this task.
    fn state(&self) -> Result<State>;
    /// Takes a state back.
    fn restore(&mut self, state: State, session: &Session) -> Result<()>;
}

/// A method by name.
pub fn create(name: &str, blueprint: &Blueprint, config: &Config) -> Result<Box<dyn Method>> {
    Ok(match name {
        "vanilla" => Box::new(vanilla::Vanilla::new(blueprint, config)?),
        "emr" => Box::new(emr::Emr::new(blueprint, config)?),
        "joint" => Box::new(joint::Joint::new(blueprint, config)?),
        other => return Err(Error::Usage(format!("method {}", unknown(other, NAMES.iter().copied())))),
    })
}
