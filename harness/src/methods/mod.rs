//! The continual-learning methods. Adding one: a file with a type that implements [`Method`], an entry in
//! [`registry::METHODS`] and a line in [`create`].

pub(crate) mod emar;
mod emr;
pub(crate) mod ewc;
mod fea;
mod joint;
mod kmeans;
pub mod lmc;
mod majority;
pub mod memory;
pub(crate) mod phases;
pub(crate) mod prototypes;
pub mod registry;
pub(crate) mod rp_cre;
pub(crate) mod schedule;
mod seq_star;
mod state;
mod vanilla;

use std::rc::Rc;

use mkgc_models::optim::AdamW;

use crate::config::{Config, unknown};
use crate::data::{Batch, Benchmark, Seen, Task};
use crate::error::{Error, Result};
use crate::learner::{Answer, Blueprint, Learner, Prediction};
use crate::run::lambda::LambdaChoice;
use crate::run::ledger::Ledger;
use crate::run::log::Log;
use crate::seed;
use memory::Memory;
pub use phases::RHO;
pub use registry::{METHODS, MethodInfo, names, place};
pub use state::State;

/// What a method needs while it learns.
pub struct Session<'a> {
    /// Shape of fresh networks.
    pub blueprint: Rc<Blueprint>,
    /// Settings of the run.
    pub config: &'a Config,
    /// The benchmark, for methods that may look back at whole tasks.
    pub benchmark: &'a Benchmark,
    /// Progress and `metrics.jsonl`.
    pub log: &'a mut Log,
    /// What the method is charged for.
    pub ledger: &'a mut Ledger,
}

impl Session<'_> {
    /// A fresh network; `number` tells apart the networks of one run.
    pub fn learner(&mut self, number: usize) -> Result<Learner> {
        let seed = seed::derive(self.config.train_seed, "init", number);
        let learner = Learner::new(&self.blueprint, self.config, seed)?;
        self.ledger.network(learner.params())?;
        Ok(learner)
    }

    /// A fresh optimiser over a network's variables.
    pub fn optimiser(&mut self, learner: &Learner) -> Result<AdamW> {
        self.ledger.optimiser();
        learner.optimiser(self.config)
    }
}

/// A continual-learning method: learns tasks one after another and predicts over the labels seen so far.
pub trait Method {
    /// Everything the method does with a task's data.
    fn learn(&mut self, task: &Task, session: &mut Session<'_>) -> Result<()>;

    /// The network, if the method has one.
    fn learner(&self) -> Option<&Learner>;

    /// Stored rows, if the method keeps any.
    fn memory(&self) -> Option<&Memory> {
        None
    }

    /// The same, to put rows back after an interruption.
    fn memory_mut(&mut self) -> Option<&mut Memory> {
        None
    }

    /// Predictions for a batch, among `seen.allowed`: the network's, so a method without one must say its own.
    fn predict(&self, batch: &Batch, seen: &Seen) -> Result<Vec<Prediction>> {
        let learner =
            self.learner().ok_or_else(|| Error::Usage("a method without a network predicts itself".into()))?;
        learner.predict(batch, &seen.allowed)
    }

    /// The same, with what each stream of a network of two says alone. A method of such a network that changes
    /// [`Method::predict`] changes this as well.
    fn answer(&self, batch: &Batch, seen: &Seen) -> Result<Vec<Answer>> {
        if let Some(learner) = self.learner().filter(|learner| learner.two_streams()) {
            return learner.answer(batch, &seen.allowed);
        }
        Ok(self.predict(batch, seen)?.into_iter().map(Answer::from).collect())
    }

    /// How EWC's λ was chosen, once it was.
    fn choice(&self) -> Option<&LambdaChoice> {
        None
    }

    /// What, besides stored rows, a later process needs to go on after this task.
    fn state(&self) -> Result<State> {
        self.learner().map_or_else(|| Ok(State::default()), State::new)
    }

    /// Takes a state back.
    fn restore(&mut self, state: &mut State) -> Result<()> {
        self.learner().map_or(Ok(()), |learner| state.restore(learner))
    }
}

/// A method by name.
pub fn create(name: &str, session: &mut Session<'_>) -> Result<Box<dyn Method>> {
    Ok(match name {
        "majority" => Box::new(majority::Majority::new(session)),
        "vanilla" | "concat" | "mkgformer" => Box::new(vanilla::Vanilla::new(session)?),
        "ewc" => Box::new(ewc::Ewc::new(session)?),
        "emr" | "concat-replay" | "mkgformer-replay" => Box::new(emr::Emr::new(session)?),
        "emar-bert" => Box::new(emar::Emar::new(session)?),
        "rp-cre" => Box::new(rp_cre::RpCre::new(session)?),
        "fea" => Box::new(fea::Fea::new(session)?),
        "seq-star" => Box::new(seq_star::SeqStar::new(session)?),
        "lmc" | "lmc-released" | "lmc-replay" => Box::new(lmc::Lmc::new(session)?),
        "joint" | "joint-multimodal" => Box::new(joint::Joint::new(session)?),
        other => return Err(unknown_method(other)),
    })
}

/// The error for a name that is no method.
pub fn unknown_method(name: &str) -> Error {
    Error::Usage(format!("method {}", unknown(name, names())))
}
