//! EMAR, episodic memory activation and reconsolidation (Han et al. 2020), on BERT. There is no official EMAR-BERT;
//! this follows the reimplementation of ACA (Wang et al. 2022) where the two differ.
//!
//! 1. *Adapt*: `epochs` on the task's rows.
//! 2. *Select* memory by k-means.
//! 3. `rounds` times: prototypes `p_c` = mean feature of class c's memory, frozen; *activation*: one epoch of the task
//!    loss on memory and task rows; *reconsolidation*: one epoch on memory of `−log exp(x·p_y) / Σ_c exp(x·p_c)`.
//!
//! Every phase has a fresh optimiser, whose gradients are clipped by the norm of all of them (`clip_apart = false`).
//!
//! RE predicts by the nearest evaluation prototype `argmax x·p̂_c`: the normalised mean of c's normalised memory
//! features and the normalised classifier row of c. A class without memory keeps its classifier row alone.
//!
//! Kept of ACA's code: raw dot products with prototypes that are not normalised in reconsolidation, which trains no
//! classifier, beside normalised ones at prediction; a cross-entropy over the prototypes of all classes seen instead of
//! the paper's contrastive sampling; activation shows new rows that are stored twice, once as memory and once as the
//! task's own; prototypes are as old as the round, so reconsolidation pulls towards features one epoch back. Mended: the
//! classes that compete in activation are those seen, where ACA lets unseen ones compete, too (`softmax = "all"`).
//! Not taken over from the paper's own code: prototypes of classes not seen yet (they leak future names).
//!
//! NER has no published form. Here a word is an item, a tag is a class; reconsolidation counts words of entities only,
//! because `O` has no useful prototype, and the CRF decodes, so EMAR acts as a regulariser.

use std::collections::BTreeMap;

use candle_core::Tensor;
use mkgc_builder::corpus::Extraction;
use mkgc_models::losses::prototype_cross_entropy;
use mkgc_models::mode::Mode;

use super::method::{Method, Session};
use super::saved::{SavedMethod, not_learned};
use super::shared::memory::Memory;
use super::shared::prototypes::{Prototypes, features, normalised, similarities};
use super::shared::training::{Objective, Passes, Step, TaskLoss, Trainer, all, train_phase, train_task};
use super::spec::{Keeps, MethodSpec};
use crate::config::Config;
use crate::config::settings::{STORED_ROWS, TRAINING};
use crate::data::{Batch, Example, Task};
use crate::error::{Error, Result};
use crate::learner::{Items, Learner};

/// `emar-bert`: EMAR (Han et al. 2020) on BERT, with the reimplementation of ACA (Wang et al. 2022) where the two
/// differ.
pub const EMAR_BERT: MethodSpec = MethodSpec {
    about: "replays stored rows and pulls them to their class's prototype",
    source: "Han et al. 2020; on BERT as in Wang et al. 2022 (ACA)",
    keeps: Keeps::RowsPerClass,
    defaults: |shared, _| Config { epochs: 2, batch_size: 32, ..shared },
    defaults_source: "Wang et al. 2022 (ACA), code",
    settings: &[TRAINING, STORED_ROWS, &["rounds", "replay_o"]],
    later_settings: &["replay_o"],
    reopen: reopened,
    ..MethodSpec::new("emar-bert", |session| Ok(Box::new(Emar::new(session)?)))
};

/// The network, the replay buffer and, for relations, the prototypes that predict.
pub struct Emar {
    learner: Learner,
    memory: Memory,
    evaluation: Option<Tensor>,
}

/// Name of the evaluation prototypes in a saved model.
const PROTOTYPES: &str = "prototypes";

fn reopened(mut saved: SavedMethod) -> Result<Box<dyn Method>> {
    let evaluation = (saved.kind == Extraction::Relations).then(|| saved.tensor(PROTOTYPES)).transpose()?;
    Ok(Box::new(Emar { learner: saved.network()?, memory: Memory::default(), evaluation }))
}

impl Emar {
    /// Makes a network and an empty replay buffer.
    pub fn new(session: &mut Session<'_>) -> Result<Self> {
        Ok(Self { learner: session.learner(0)?, memory: Memory::default(), evaluation: None })
    }

    fn activate(&self, task: &Task, session: &mut Session<'_>, round: usize) -> Result<()> {
        let mut rows = self.memory.with_newest(session.masks_outside());
        rows.extend(task.train.iter().cloned());
        let phase = format!("activation/{round}");
        let passes = Passes { epochs: 1, rows: &all(&rows) };
        train_phase(&self.learner, &task.seen, session, &phase, passes, &mut TaskLoss)
    }

    fn reconsolidate(
        &self,
        prototypes: Prototypes,
        task: &Task,
        session: &mut Session<'_>,
        round: usize,
    ) -> Result<()> {
        let mut optimiser = session.optimiser(&self.learner)?;
        let phase = format!("reconsolidation/{round}");
        let mut trainer = Trainer::new(&self.learner, &mut optimiser, &task.seen, session, &phase);
        let objective = Reconsolidation { prototypes };
        let counts = |row: &Example| row.gold.iter().any(|label| objective.counts(self.learner.kind(), *label));
        let passes = Passes { epochs: 1, rows: &self.memory.rows() };
        trainer.epochs(session, passes, &mut &objective, |rows| {
            let any = rows.iter().any(|row| counts(row));
            any.then_some(Step { phase: "reconsolidation", rows }).into_iter().collect()
        })
    }
}

/// Computes the evaluation prototypes `[L, F]` by label id from the features `[N, F]` of each class's memory.
pub(crate) fn evaluation_prototypes(learner: &Learner, memory: &BTreeMap<u32, Tensor>) -> Result<Tensor> {
    let classifier = learner.params().tensors()?.remove("head.classifier.weight");
    let classifier = classifier.ok_or_else(|| Error::Usage("EMAR needs a linear classifier".to_owned()))?;
    let prototype = |label: usize| -> Result<Tensor> {
        let row = classifier.narrow(0, label, 1)?;
        normalised(&mean_of_units(memory.get(&(label as u32)), &row)?)
    };
    let prototypes = (0..classifier.dim(0)?).map(prototype).collect::<Result<Vec<_>>>()?;
    Ok(Tensor::cat(&prototypes, 0)?)
}

/// Computes the mean `[1, F]` of the unit vectors along features `[N, F]`, if any, and along a classifier row `[1,
/// F]`.
pub(crate) fn mean_of_units(features: Option<&Tensor>, row: &Tensor) -> Result<Tensor> {
    let members = match features {
        Some(features) => Tensor::cat(&[features, row], 0)?,
        None => row.clone(),
    };
    Ok(normalised(&members)?.mean_keepdim(0)?)
}

/// The loss of reconsolidation, against frozen prototypes.
pub(crate) struct Reconsolidation {
    pub(crate) prototypes: Prototypes,
}

impl Reconsolidation {
    fn counts(&self, kind: Extraction, label: u32) -> bool {
        (kind == Extraction::Relations || label != 0) && self.prototypes.index_of(label).is_some()
    }

    /// Computes the mean loss over the items that count, from features as [`Learner::forward`] gives them.
    pub(crate) fn of_features(&self, kind: Extraction, features: &Tensor, batch: &Batch) -> Result<Tensor> {
        let items = Items::select(kind, features, batch, |label| self.counts(kind, label))?;
        let items = items.ok_or_else(|| Error::Usage("a batch without items to reconsolidate".to_owned()))?;
        let targets: Vec<u32> = items.labels.iter().filter_map(|label| self.prototypes.index_of(*label)).collect();
        let targets = Tensor::new(targets, items.features.device())?;
        Ok(prototype_cross_entropy(&items.features, &self.prototypes.vectors, &targets)?)
    }
}

impl Objective for &Reconsolidation {
    fn loss(&mut self, learner: &Learner, batch: &Batch, _: &[bool], mode: &mut Mode<'_>) -> Result<Tensor> {
        self.of_features(learner.kind(), &learner.forward(batch, mode)?.features, batch)
    }
}

impl Method for Emar {
    fn learn(&mut self, task: &Task, session: &mut Session<'_>) -> Result<()> {
        train_task(&self.learner, task, session, &mut TaskLoss)?;
        self.memory.push(session.select(&self.learner, task)?);
        for round in 0..session.config.rounds {
            let prototypes = Prototypes::means(&self.learner, &self.memory.rows(), "rounds", session)?;
            self.activate(task, session, round)?;
            if let Some(prototypes) = prototypes {
                self.reconsolidate(prototypes, task, session, round)?;
            }
        }
        if self.learner.kind() == Extraction::Relations {
            let rows = self.memory.rows();
            let memory = features(&self.learner, &rows)?;
            session.trace.prototypes("predict", &rows, &memory.keys().copied().collect::<Vec<_>>());
            self.evaluation = Some(evaluation_prototypes(&self.learner, &memory)?);
        }
        Ok(())
    }

    fn scores(&self, features: &Tensor) -> Result<Tensor> {
        let Some(prototypes) = &self.evaluation else { return self.learner.scores(features) };
        similarities(features, prototypes)
    }

    fn kept(&self) -> Result<BTreeMap<String, Tensor>> {
        if self.learner.kind() == Extraction::Entities {
            return Ok(BTreeMap::new());
        }
        let prototypes = self.evaluation.clone().ok_or_else(not_learned)?;
        Ok([(PROTOTYPES.to_owned(), prototypes)].into())
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
