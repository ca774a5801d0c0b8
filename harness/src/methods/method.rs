//! What a continual-learning method is, and what it works with while it learns.

use std::collections::BTreeMap;
use std::rc::Rc;

use candle_core::{Device, Tensor};
use mkgc_builder::corpus::Extraction;
use mkgc_models::mode::Mode;
use mkgc_models::optim::AdamW;

use super::journal::Journal;
use super::shared::memory::{self, Memory};
use super::trace::Trace;
use crate::config::{Config, ReplayO};
use crate::data::{Batch, Benchmark, Example, Task, VisibleLabels};
use crate::error::{Error, Result};
use crate::learner::{Answer, Learner, LearnerSpec, Prediction};
use crate::run::checkpoint::{DonePart, State};
use crate::run::lambda::LambdaChoice;
use crate::run::log::Log;
use crate::seed;

/// What a method works with while it learns.
pub struct Session<'a> {
    /// Shape of the networks that the method makes.
    pub spec: Rc<LearnerSpec>,
    /// Settings that the run was started with.
    pub config: &'a Config,
    /// The benchmark, for methods that look back at whole tasks.
    pub benchmark: &'a Benchmark,
    /// Log that shows progress and writes `metrics.jsonl`.
    pub log: &'a mut Log,
    /// Trace that counts optimiser steps and, if enabled, records what the method did.
    pub trace: &'a mut Trace,
    /// What is done of the task, for checkpoints inside it.
    pub journal: &'a mut Journal,
}

impl Session<'_> {
    /// Makes a network with initial weights; `number` gives each network of one run its own seed.
    ///
    /// # Errors
    /// Settings that no network of this shape can have.
    pub fn learner(&mut self, number: usize) -> Result<Learner> {
        let seed = seed::derive(self.config.train_seed, "init", number);
        let learner = Learner::new(&self.spec, self.config, seed)?;
        self.trace.network(learner.params())?;
        Ok(learner)
    }

    /// Makes an optimiser over a network's variables, its moments at zero.
    ///
    /// # Errors
    /// The device is out of memory.
    pub fn optimiser(&mut self, learner: &Learner) -> Result<AdamW> {
        self.trace.optimiser();
        learner.optimiser(self.config)
    }

    /// Chooses the rows of a task to store, as `memory_per_class`, `memory_outside` and `selection` say.
    ///
    /// # Errors
    /// The device is out of memory.
    pub fn select(&mut self, learner: &Learner, task: &Task) -> Result<Vec<Example>> {
        let mut kept = self.keep("memory", |session| {
            let rows = memory::select(learner, task, session.config, session.benchmark.manifest())?;
            let count = rows.len();
            let rows = rows.into_iter().map(|row| row as u32).collect();
            Ok(State::default()
                .with("rows", [("chosen".to_owned(), Tensor::from_vec(rows, count, &Device::Cpu)?)].into()))
        })?;
        let chosen = kept.take("rows").remove("chosen").map_or(Ok(Vec::new()), |rows| rows.to_vec1::<u32>())?;
        Ok(chosen.into_iter().map(|row| task.train[row as usize].clone()).collect())
    }

    /// Returns what `make` computes from the network between two phases of a task. In a run that goes on inside the task
    /// after it was computed, it is the value of the checkpoint, and `make` is not called. `make` may train phases.
    ///
    /// # Errors
    /// Returns the errors of `make`.
    pub fn keep(&mut self, name: &str, make: impl FnOnce(&mut Self) -> Result<State>) -> Result<State> {
        let name = format!("value {name}");
        if let Some(done) = self.journal.next(&name) {
            self.trace.steps += done.steps;
            return Ok(done.value.clone());
        }
        let before = self.journal.passed();
        let steps = self.trace.steps;
        let value = make(self)?;
        let steps = self.trace.steps - steps;
        self.journal.finish(before, DonePart { name, steps, value: value.clone() });
        Ok(value)
    }

    /// Does what [`Session::keep`] does for a value that replaces earlier ones of its name, which are dropped.
    ///
    /// # Errors
    /// Returns the errors of `make`.
    pub fn keep_newest(&mut self, name: &str, make: impl FnOnce(&mut Self) -> Result<State>) -> Result<State> {
        self.keep(name, |session| {
            session.journal.forget(&format!("value {name}"));
            make(session)
        })
    }

    /// Lets the log go on where the part in progress was left.
    pub(super) fn resume_log(&mut self) {
        if let Some(state) = self.journal.take_log() {
            self.log.restore(state);
        }
    }

    /// Returns whether `O` in a stored sentence counts as unknown when the sentence is replayed (`replay_o`).
    pub fn masks_outside(&self) -> bool {
        self.spec.kind == Extraction::Entities && self.config.replay_o == ReplayO::Mask
    }
}

fn network_of(learner: Option<&Learner>) -> Result<&Learner> {
    learner.ok_or_else(|| {
        Error::Usage("a method without a network must implement `predict` (see `Method::predict`)".to_owned())
    })
}

/// A continual-learning method: learns tasks one after another and predicts over the labels seen so far.
///
/// A method of one's own implements [`Method::learn`] and [`Method::learner`]; the other functions have defaults that
/// suit a method of one network. `vanilla.rs` is the shortest example.
pub trait Method {
    /// Learns a task from its training rows.
    ///
    /// # Errors
    /// The loss diverges, or a setting cannot be used with these rows.
    fn learn(&mut self, task: &Task, session: &mut Session<'_>) -> Result<()>;

    /// Returns the network; none if the method has none.
    fn learner(&self) -> Option<&Learner>;

    /// Returns the replay buffer; none if the method stores no rows.
    fn memory(&self) -> Option<&Memory> {
        None
    }

    /// Returns the replay buffer so that rows can be put back when a run resumes.
    fn memory_mut(&mut self) -> Option<&mut Memory> {
        None
    }

    /// Scores the features of a batch as [`Method::predict`] does: relations logits `[B, L]`, entities emissions
    /// `[B, W, L]`. The default asks the network's own classifier. What a method reads here besides its network belongs to
    /// [`Method::kept`].
    ///
    /// # Errors
    /// The method has no network.
    fn scores(&self, features: &Tensor) -> Result<Tensor> {
        network_of(self.learner())?.scores(features)
    }

    /// Predicts a batch, choosing among `seen.allowed` by [`Method::scores`]. A method without a network must implement
    /// it; every other method should implement [`Method::scores`] instead, from which a saved model predicts.
    ///
    /// # Errors
    /// The method has no network and does not implement this.
    fn predict(&self, batch: &Batch, seen: &VisibleLabels) -> Result<Vec<Prediction>> {
        let learner = network_of(self.learner())?;
        let features = learner.forward(batch, &mut Mode::Eval)?.features;
        learner.decide(&self.scores(&features)?, batch, &seen.allowed)
    }

    /// Returns the tensors that predictions need besides the network's variables, by name, such as prototypes. A saved
    /// model holds them, and [`super::MethodSpec::reopen`] takes them back.
    ///
    /// # Errors
    /// The method has not learned a task, or the device is out of memory.
    fn kept(&self) -> Result<BTreeMap<String, Tensor>> {
        Ok(BTreeMap::new())
    }

    /// Predicts a batch as [`Method::predict`] does and adds what each half of a network with two streams predicts
    /// alone. A method of such a network that implements [`Method::predict`] must implement this as well.
    ///
    /// # Errors
    /// Returns the errors of [`Method::predict`].
    fn answer(&self, batch: &Batch, seen: &VisibleLabels) -> Result<Vec<Answer>> {
        if let Some(learner) = self.learner().filter(|learner| learner.two_streams()) {
            return learner.answer(batch, &seen.allowed);
        }
        Ok(self.predict(batch, seen)?.into_iter().map(Answer::from).collect())
    }

    /// Returns whether the method can go on inside a task. That is so if [`Method::learn`] trains with
    /// [`Trainer`](super::shared::training::Trainer), [`train_task`](super::shared::training::train_task) or
    /// [`train_phase`](super::shared::training::train_phase), and computes what it needs of the network after its first
    /// phase with [`Session::keep`], [`Session::select`] or
    /// [`Prototypes::means`](super::shared::prototypes::Prototypes::means). A run of any other method begins a task anew that
    /// was interrupted.
    fn resumes_inside(&self) -> bool {
        false
    }

    /// Returns how EWC's λ was chosen; none before it was, and for every other method.
    fn choice(&self) -> Option<&LambdaChoice> {
        None
    }

    /// Returns what another process needs, besides the stored rows, to go on after this task.
    ///
    /// # Errors
    /// The device is out of memory.
    fn state(&self) -> Result<State> {
        self.learner().map_or_else(|| Ok(State::default()), Learner::state)
    }

    /// Restores what [`Method::state`] returned.
    ///
    /// # Errors
    /// The state belongs to another network.
    fn restore(&mut self, state: &mut State) -> Result<()> {
        self.learner().map_or(Ok(()), |learner| learner.restore(state))
    }
}
