//! EMR, episodic memory replay (Wang et al. 2019, "Sentence Embedding Alignment for Lifelong Relation Extraction",
//! without the alignment layer), on a BERT encoder: before each step on the current batch, a step on the memory of one
//! old task, tasks taken in turn, also from one epoch to the next. After a task, each of its classes keeps the rows
//! nearest to k-means centroids. On the dual-stream network it is `concat-replay`, on MKGformer's network
//! `mkgformer-replay`.
//!
//! As in the paper, that step is one update on the *whole* memory of the old task. Where the memory is more than a batch
//! holds, several batches add up their gradients to the one step, because a step for each would take more steps than the
//! paper, each on a noisier gradient. With `replay = "concat"`, each current batch takes one step together with
//! `batch_size` rows drawn from the memory of all old tasks. Not the paper's: BERT and a softmax in place of LSTMs and a
//! margin loss, and a memory per class instead of per task.

use rand::seq::IndexedRandom;

use super::memory::{self, Memory};
use super::phases::{CURRENT, TaskLoss, Trainer, all};
use super::{Method, Session};
use crate::config::Replay;
use crate::data::{Example, Task};
use crate::error::Result;
use crate::learner::Learner;
use crate::seed;

/// One network and the stored rows of each task learned.
pub struct Emr {
    learner: Learner,
    memory: Memory,
}

impl Emr {
    /// A fresh network, empty memory.
    pub fn new(session: &mut Session<'_>) -> Result<Self> {
        Ok(Self { learner: session.learner(0)?, memory: Memory::default() })
    }
}

impl Method for Emr {
    fn learn(&mut self, task: &Task, session: &mut Session<'_>) -> Result<()> {
        let config = session.config;
        let mut replayed = self.memory.replayed(self.memory.tasks(), session);
        replayed.retain(|rows| !rows.is_empty());
        let mut turns = replayed.iter().map(|rows| all(rows)).cycle();
        let stored: Vec<&Example> = replayed.iter().flatten().collect();
        let mut rng = seed::generator(config.train_seed, "replay", task.seen.stage);
        let mut optimiser = session.optimiser(&self.learner)?;
        let mut trainer = Trainer::new(&self.learner, &mut optimiser, &task.seen, session, CURRENT);
        let rows = all(&task.train);
        trainer.epochs(session, (config.epochs, &rows), &mut TaskLoss, |batch| match config.replay {
            Replay::Alternate => {
                turns.next().map(|old| ("replay", old)).into_iter().chain([(CURRENT, batch)]).collect()
            }
            Replay::Concat => {
                let old = stored.choose_multiple(&mut rng, config.batch_size).copied();
                vec![(CURRENT, batch.into_iter().chain(old).collect())]
            }
        })?;
        self.memory.push(memory::select(&self.learner, task, session)?);
        Ok(())
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
