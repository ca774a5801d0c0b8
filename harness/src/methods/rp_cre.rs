//! RP-CRE, refining sample embeddings with relation prototypes (Cui et al. 2021).
//!
//! 1. Prototypes of old classes from stored rows, with the encoder before this task.
//! 2. *Initial training* on the task's rows.
//! 3. Memory of the task's classes by k-means, and their prototypes.
//! 4. *Memory-network training*: a fresh attention network refines each feature by all prototypes (frozen for the
//!    phase), the classifier reads the result; `memory_epochs` over all stored rows, encoder, classifier and network
//!    together.
//! 5. The task's memory is selected again with the final encoder and all prototypes are recomputed; prediction is the
//!    classifier on refined features.
//!
//! Mended against the released code: padding is masked, prototypes and selection are made without dropout, batches are
//! shuffled anew in every epoch, ties do not count as correct. Gradients are clipped together, not per module.
//!
//! NER has no published form. Here a tag is a class, the network refines every word's feature, and the CRF decodes.

use candle_core::Tensor;
use mkgc_models::memory_network::MemoryNetwork;
use mkgc_models::mode::Mode;
use mkgc_models::optim::ParamGroup;
use mkgc_models::params::ParamStore;

use super::memory::{self, Memory};
use super::phases::{CURRENT, Objective, TaskLoss, Trainer, all, fit};
use super::prototypes::Prototypes;
use super::{Method, Session};
use crate::data::{Batch, Seen, Task};
use crate::error::{Error, Result};
use crate::learner::{Learner, Prediction};
use crate::seed;

/// One network, stored rows, and what refines features after the newest task.
pub struct RpCre {
    learner: Learner,
    memory: Memory,
    refiner: Option<Refiner>,
}

/// A memory network with the prototypes it attends to.
struct Refiner {
    store: ParamStore,
    network: MemoryNetwork,
    prototypes: Prototypes,
}

impl Refiner {
    fn new(learner: &Learner, prototypes: Prototypes, session: &mut Session<'_>, stage: usize) -> Result<Self> {
        let config = session.config;
        let seed = seed::derive(config.train_seed, "memory_network", stage);
        let store = ParamStore::new(seed, learner.device().clone());
        let hidden = prototypes.vectors.dim(1)?;
        let network = MemoryNetwork::new(hidden, config.key_size, store.builder().pp("memory_network"))?;
        session.ledger.memory_network(&store, prototypes.classes.len())?;
        Ok(Self { store, network, prototypes })
    }

    /// Scores of refined features; shapes as [`Learner::scores`].
    fn scores(&self, learner: &Learner, features: &Tensor) -> Result<Tensor> {
        let size = features.dims()[features.rank() - 1];
        let refined = self.network.forward(&features.reshape(((), size))?, &self.prototypes.vectors)?;
        learner.scores(&refined.reshape(features.shape())?)
    }
}

impl Objective for &Refiner {
    fn loss(&mut self, learner: &Learner, batch: &Batch, allowed: &[bool], mode: &mut Mode<'_>) -> Result<Tensor> {
        let features = learner.forward(batch, mode)?.features;
        learner.task_loss(&self.scores(learner, &features)?, batch, allowed)
    }
}

impl RpCre {
    /// A fresh network, empty memory.
    pub fn new(session: &mut Session<'_>) -> Result<Self> {
        Ok(Self { learner: session.learner(0)?, memory: Memory::default(), refiner: None })
    }

    fn train(&self, refiner: &Refiner, task: &Task, session: &mut Session<'_>) -> Result<()> {
        let config = session.config;
        let (vars, lr, weight_decay) = (refiner.store.vars(), config.lr_memory_network, config.weight_decay);
        let group = ParamGroup { name: "memory_network".to_owned(), vars, lr, weight_decay };
        session.ledger.optimiser();
        let mut optimiser = self.learner.optimiser_with(config, vec![group])?;
        let mut rows = self.memory.replayed(task.seen.stage, session).concat();
        rows.extend_from_slice(self.memory.newest());
        let mut trainer = Trainer::new(&self.learner, &mut optimiser, &task.seen, session, "memory_network");
        let passes = (config.memory_epochs, &*all(&rows));
        trainer.epochs(session, passes, &mut &*refiner, |batch| vec![("memory_network", batch)])
    }
}

impl Method for RpCre {
    fn learn(&mut self, task: &Task, session: &mut Session<'_>) -> Result<()> {
        let old = Prototypes::means(&self.learner, &self.memory.rows(), "old", session)?;
        let current = (session.config.epochs, &*all(&task.train));
        fit(&self.learner, &task.seen, session, CURRENT, current, &mut TaskLoss)?;
        self.memory.push(memory::select(&self.learner, task, session)?);
        let new = Prototypes::means(&self.learner, &all(self.memory.newest()), "new", session)?;
        let none =
            || Error::Usage("RP-CRE has no stored row to make a prototype of; raise memory_per_class".to_owned());
        let prototypes = Prototypes::merged(old, new)?.ok_or_else(none)?;
        let mut refiner = Refiner::new(&self.learner, prototypes, session, task.seen.stage)?;
        self.train(&refiner, task, session)?;
        self.memory.replace_last(memory::select(&self.learner, task, session)?);
        let rows = self.memory.rows();
        refiner.prototypes = Prototypes::means(&self.learner, &rows, "predict", session)?.ok_or_else(none)?;
        self.refiner = Some(refiner);
        Ok(())
    }

    fn predict(&self, batch: &Batch, seen: &Seen) -> Result<Vec<Prediction>> {
        let Some(refiner) = &self.refiner else { return self.learner.predict(batch, &seen.allowed) };
        let features = self.learner.forward(batch, &mut Mode::Eval)?.features;
        self.learner.decide(&refiner.scores(&self.learner, &features)?, batch, &seen.allowed)
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
