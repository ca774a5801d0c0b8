//! EMR, episodic memory replay (Wang et al. 2019, "Sentence Embedding Alignment for Lifelong Relation Extraction",
//! without the alignment layer), on a BERT encoder: before each step on the current batch, a step on the memory of one
//! old task, tasks taken in turn, also from one epoch to the next. The turns of each new task begin with the first task, as
//! in the authors' code (`memory_index` in train.py of Lifelong_Relation_Detection), so that a task with fewer batches than
//! there are old tasks does not replay the newest of them. After a task, each of its classes keeps the rows
//! nearest to k-means centroids. On the dual-stream network it is `concat-replay`, on MKGformer's network
//! `mkgformer-replay`.
//!
//! As in the paper, that step is one update on the *whole* memory of the old task. Where the memory is more than a batch
//! holds, several batches add up their gradients to the one step, because a step for each would take more steps than the
//! paper, each on a noisier gradient. With `replay = "concat"`, each current batch takes one step together with
//! `batch_size` rows drawn from the memory of all old tasks. Not the paper's: BERT and a softmax in place of LSTMs and a
//! margin loss, and a memory per class instead of per task.

use rand::seq::IndexedRandom;

use super::method::{Method, Session};
use super::shared::memory::Memory;
use super::shared::training::{CURRENT, Passes, Step, TaskLoss, Trainer, all};
use super::spec::{Keeps, MethodSpec};
use super::vanilla::{CONCAT, MKGFORMER};
use crate::config::Replay;
use crate::config::settings::{STORED_ROWS, TRAINING};
use crate::data::{Example, Task};
use crate::error::Result;
use crate::learner::Learner;
use crate::seed;

/// `emr`: episodic memory replay (Wang et al. 2019) on BERT alone, without the paper's alignment layer.
pub const EMR: MethodSpec = MethodSpec {
    about: "a step on stored rows of an old task before each step on the current one",
    source: "Wang et al. 2019",
    keeps: Keeps::RowsPerClass,
    settings: &[TRAINING, STORED_ROWS, &["replay", "replay_o"]],
    later_settings: &["replay", "replay_o"],
    ..MethodSpec::new("emr", |session| Ok(Box::new(Emr::new(session)?)))
};

/// `concat-replay`: on the network of `concat`.
pub const CONCAT_REPLAY: MethodSpec = MethodSpec {
    name: "concat-replay",
    about: "concat with the replay of emr",
    source: "late fusion; Wang et al. 2019",
    keeps: EMR.keeps,
    create: EMR.create,
    settings: EMR.settings,
    later_settings: EMR.later_settings,
    ..CONCAT
};

/// `mkgformer-replay`: on the network of `mkgformer`.
pub const MKGFORMER_REPLAY: MethodSpec = MethodSpec {
    name: "mkgformer-replay",
    about: "mkgformer with the replay of emr",
    source: "Chen et al. 2022; Wang et al. 2019",
    keeps: EMR.keeps,
    create: EMR.create,
    settings: EMR.settings,
    later_settings: EMR.later_settings,
    ..MKGFORMER
};

/// The network and the replay buffer.
pub struct Emr {
    learner: Learner,
    memory: Memory,
}

impl Emr {
    /// Makes a network and an empty replay buffer.
    pub fn new(session: &mut Session<'_>) -> Result<Self> {
        Ok(Self { learner: session.learner(0)?, memory: Memory::default() })
    }
}

impl Method for Emr {
    fn learn(&mut self, task: &Task, session: &mut Session<'_>) -> Result<()> {
        let config = session.config;
        let mut replayed = self.memory.replayed(self.memory.tasks(), session.masks_outside());
        replayed.retain(|rows| !rows.is_empty());
        let mut turns = replayed.iter().map(|rows| all(rows)).cycle();
        let stored: Vec<&Example> = replayed.iter().flatten().collect();
        let mut rng = seed::generator(config.train_seed, "replay", task.seen.task);
        let mut optimiser = session.optimiser(&self.learner)?;
        let mut trainer = Trainer::new(&self.learner, &mut optimiser, &task.seen, session, CURRENT);
        let rows = all(&task.train);
        let passes = Passes { epochs: config.epochs, rows: &rows };
        trainer.epochs(session, passes, &mut TaskLoss, |rows| match config.replay {
            Replay::Alternate => {
                let old = turns.next().map(|rows| Step { phase: "replay", rows });
                old.into_iter().chain([Step { phase: CURRENT, rows }]).collect()
            }
            Replay::Concat => {
                let old = stored.choose_multiple(&mut rng, config.batch_size).copied();
                vec![Step { phase: CURRENT, rows: rows.into_iter().chain(old).collect() }]
            }
        })?;
        self.memory.push(session.select(&self.learner, task)?);
        Ok(())
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
