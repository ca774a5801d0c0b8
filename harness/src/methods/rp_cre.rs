//! RP-CRE, refining sample embeddings with relation prototypes (Cui et al. 2021).
//!
//! 1. Prototypes of old classes from stored rows, with the encoder before this task.
//! 2. *Initial training* on the task's rows.
//! 3. Memory of the task's classes by k-means, and their prototypes. A class that is old and new, as `None` and `O`
//!    are, has the mean over both kinds of rows, as at prediction.
//! 4. *Memory-network training*: a fresh attention network refines each feature by all prototypes (frozen for the
//!    phase), the classifier reads the result; `memory_epochs` over all stored rows, encoder, classifier and network
//!    together.
//! 5. The task's memory is selected again with the final encoder and all prototypes are recomputed; prediction is the
//!    classifier on refined features.
//!
//! Kept of the released code: prototypes of old classes are those of the encoder before the task (1); gradients of
//! encoder, classifier and memory network are clipped each by their own norm (`clip_apart`), the feature layer being
//! part of the encoder; Adam anew for each phase; the joint norm over heads in the memory network. Mended: padding is
//! masked, where the code lets it be attended; prototypes and selection are made without dropout, where the code leaves
//! it on; batches are shuffled anew in every epoch; ties do not count as correct; the classes that compete in the loss
//! are those seen, where the code lets unseen ones compete, too (`softmax = "all"`).
//!
//! NER has no published form. Here a tag is a class, the network refines every word's feature, and the CRF decodes.

use std::collections::BTreeMap;

use candle_core::Tensor;
use mkgc_models::heads::MemoryNetwork;
use mkgc_models::mode::Mode;
use mkgc_models::optim::{AdamW, ParamGroup};
use mkgc_models::params::ParamStore;

use super::method::{Method, Session};
use super::saved::{SavedMethod, not_learned};
use super::shared::memory::Memory;
use super::shared::prototypes::Prototypes;
use super::shared::training::{Objective, Passes, Step, TaskLoss, Trainer, all, train_task};
use super::spec::{Keeps, MethodSpec};
use crate::config::Config;
use crate::config::settings::{STORED_ROWS, TRAINING};
use crate::data::{Batch, Task};
use crate::error::{Error, Result};
use crate::learner::Learner;
use crate::seed;

/// `rp-cre`: RP-CRE (Cui et al. 2021), which refines features by attention to class prototypes.
pub const RP_CRE: MethodSpec = MethodSpec {
    about: "refines features by attention to class prototypes, trained on stored rows",
    source: "Cui et al. 2021",
    keeps: Keeps::RowsPerClass,
    defaults: |shared, _| Config { clip_apart: true, ..shared },
    defaults_source: "fd2014cl/RP-CRE",
    settings: &[TRAINING, STORED_ROWS, &["memory_epochs", "replay_o", "key_size", "lr_memory_network"]],
    later_settings: &["replay_o"],
    reopen: reopened,
    ..MethodSpec::new("rp-cre", |session| Ok(Box::new(RpCre::new(session)?)))
};

/// The network, the replay buffer, and what refines features after the newest task.
pub struct RpCre {
    learner: Learner,
    memory: Memory,
    refiner: Option<Refiner>,
}

/// Names of the prototypes and of their label ids in a saved model.
const PROTOTYPES: [&str; 2] = ["prototypes", "prototype_labels"];

fn reopened(mut saved: SavedMethod) -> Result<Box<dyn Method>> {
    let learner = saved.network()?;
    let vectors = saved.tensor(PROTOTYPES[0])?;
    let classes: Vec<u32> = saved.tensor(PROTOTYPES[1])?.to_vec1()?;
    let items = vec![1; classes.len()];
    let refiner = Refiner::new(Prototypes { classes, vectors, items }, &saved.config, 0)?;
    refiner.store.load(&saved.tensors)?;
    Ok(Box::new(RpCre { learner, memory: Memory::default(), refiner: Some(refiner) }))
}

/// A memory network with the prototypes it attends to.
pub(crate) struct Refiner {
    pub(crate) store: ParamStore,
    network: MemoryNetwork,
    prototypes: Prototypes,
}

impl Refiner {
    /// Makes a memory network with new variables.
    pub(crate) fn new(prototypes: Prototypes, config: &Config, stage: usize) -> Result<Self> {
        let seed = seed::derive(config.train_seed, "memory_network", stage);
        let store = ParamStore::new(seed, prototypes.vectors.device().clone());
        let hidden = prototypes.vectors.dim(1)?;
        let network = MemoryNetwork::new(hidden, config.key_size, store.builder().pp("memory_network"))?;
        Ok(Self { store, network, prototypes })
    }

    /// Returns the variables of the memory network and the prototypes, for a saved model.
    fn tensors(&self) -> Result<BTreeMap<String, Tensor>> {
        let Prototypes { classes, vectors, .. } = &self.prototypes;
        let labels = Tensor::new(classes.as_slice(), vectors.device())?;
        let mut tensors = self.store.tensors()?;
        tensors.extend(PROTOTYPES.map(str::to_owned).into_iter().zip([vectors.clone(), labels]));
        Ok(tensors)
    }

    /// Makes an optimiser over a network and this memory network.
    pub(crate) fn optimiser(&self, learner: &Learner, config: &Config) -> Result<AdamW> {
        let vars = self.store.vars();
        let lr = config.lr_memory_network;
        let weight_decay = config.weight_decay;
        let group = ParamGroup { name: "memory_network".to_owned(), vars, lr, weight_decay };
        learner.optimiser_with(config, vec![group])
    }

    /// Refines features; shapes as [`Learner::forward`] gives them.
    pub(crate) fn refined(&self, features: &Tensor) -> Result<Tensor> {
        let size = features.dims()[features.rank() - 1];
        let refined = self.network.forward(&features.reshape(((), size))?, &self.prototypes.vectors)?;
        Ok(refined.reshape(features.shape())?)
    }

    /// Scores refined features; shapes as [`Learner::scores`].
    pub(crate) fn scores(&self, learner: &Learner, features: &Tensor) -> Result<Tensor> {
        learner.scores(&self.refined(features)?)
    }

    /// Computes the loss of the task on refined features.
    pub(crate) fn of_features(
        &self,
        learner: &Learner,
        features: &Tensor,
        batch: &Batch,
        allowed: &[bool],
    ) -> Result<Tensor> {
        learner.task_loss(&self.scores(learner, features)?, batch, allowed)
    }
}

impl Objective for &Refiner {
    fn loss(&mut self, learner: &Learner, batch: &Batch, allowed: &[bool], mode: &mut Mode<'_>) -> Result<Tensor> {
        self.of_features(learner, &learner.forward(batch, mode)?.features, batch, allowed)
    }
}

impl RpCre {
    /// Makes a network and an empty replay buffer.
    ///
    /// # Errors
    /// Settings that store no row, of which prototypes could be made.
    pub fn new(session: &mut Session<'_>) -> Result<Self> {
        if session.config.memory_per_class == 0 {
            let reason = "RP-CRE makes its prototypes of stored rows; give at least 1".to_owned();
            return Err(Error::Config { key: "memory_per_class".to_owned(), reason });
        }
        Ok(Self { learner: session.learner(0)?, memory: Memory::default(), refiner: None })
    }

    fn train(&self, refiner: &Refiner, task: &Task, session: &mut Session<'_>) -> Result<()> {
        let config = session.config;
        session.trace.optimiser();
        let mut optimiser = refiner.optimiser(&self.learner, config)?;
        let rows = self.memory.with_newest(session.masks_outside());
        let mut trainer = Trainer::new(&self.learner, &mut optimiser, &task.seen, session, "memory_network");
        let passes = Passes { epochs: config.memory_epochs, rows: &all(&rows) };
        trainer.epochs(session, passes, &mut &*refiner, |rows| vec![Step { phase: "memory_network", rows }])
    }
}

impl Method for RpCre {
    fn learn(&mut self, task: &Task, session: &mut Session<'_>) -> Result<()> {
        let old = Prototypes::means(&self.learner, &self.memory.rows(), "old", session)?;
        train_task(&self.learner, task, session, &mut TaskLoss)?;
        self.memory.push(session.select(&self.learner, task)?);
        let new = Prototypes::means(&self.learner, &all(self.memory.newest()), "new", session)?;
        let none =
            || Error::Usage("RP-CRE has no stored row to make a prototype of; raise memory_per_class".to_owned());
        let prototypes = Prototypes::merged(old, new)?.ok_or_else(none)?;
        let mut refiner = Refiner::new(prototypes, session.config, task.seen.task)?;
        session.trace.memory_network(&refiner.store, refiner.prototypes.classes.len())?;
        self.train(&refiner, task, session)?;
        self.memory.replace_last(session.select(&self.learner, task)?);
        let rows = self.memory.rows();
        refiner.prototypes = Prototypes::means(&self.learner, &rows, "predict", session)?.ok_or_else(none)?;
        self.refiner = Some(refiner);
        Ok(())
    }

    fn scores(&self, features: &Tensor) -> Result<Tensor> {
        match &self.refiner {
            Some(refiner) => refiner.scores(&self.learner, features),
            None => self.learner.scores(features),
        }
    }

    fn kept(&self) -> Result<BTreeMap<String, Tensor>> {
        self.refiner.as_ref().ok_or_else(not_learned)?.tensors()
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
