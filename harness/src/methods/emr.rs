//! EMR, episodic memory replay (Wang et al. 2019, "Sentence Embedding Alignment for Lifelong Relation Extraction",
//! without the alignment layer), on a BERT encoder: before each step on the current batch, a step on the memory of one
//! old task, tasks taken in turn. After a task, each of its classes keeps the rows nearest to k-means centroids.

use std::collections::BTreeMap;

use mkgc_builder::corpus::TaskKind;
use rand::seq::IndexedRandom;

use super::phases::Trainer;
use super::{Method, Session, State, memory};
use crate::config::{Config, Replay, ReplayO};
use crate::data::{Batch, Example, Seen, Task};
use crate::error::{Error, Result};
use crate::learner::{Blueprint, Learner, Prediction};
use crate::seed;

/// One network and the stored rows of each task learned.
pub struct Emr {
    learner: Learner,
    memory: Vec<Vec<Example>>,
}

impl Emr {
    /// A fresh network, empty memory.
    pub fn new(blueprint: &Blueprint, config: &Config) -> Result<Self> {
        let learner = Learner::new(blueprint, config, seed::derive(config.train_seed, "init", 0))?;
        Ok(Self { learner, memory: vec![] })
    }

    /// Stored rows as they are replayed.
    fn replayed(&self, session: &Session) -> Vec<Vec<Example>> {
        let mask_o = session.blueprint.kind == TaskKind::Ner && session.config.replay_o == ReplayO::Mask;
        let shown = |row: &Example| if mask_o { row.clone().with_unknown_o() } else { row.clone() };
        let tasks = self.memory.iter().filter(|rows| !rows.is_empty());
        tasks.map(|rows| rows.iter().map(shown).collect()).collect()
    }
}

impl Method for Emr {
    fn learn(&mut self, task: &Task, session: &mut Session) -> Result<()> {
        let config = session.config;
        let replayed = self.replayed(session);
        let mut rng = seed::generator(config.train_seed, "replay", task.seen.stage);
        let mut turn = 0;
        let mut trainer = Trainer::new(&self.learner, &task.seen, session)?;
        trainer.epochs(&task.train, session, |trainer, batch| {
            if replayed.is_empty() {
                return trainer.step(batch);
            }
            let old: Vec<&Example> = replayed[turn % replayed.len()].iter().collect();
            turn += 1;
            let old: Vec<&Example> = old.choose_multiple(&mut rng, config.batch_size).copied().collect();
            match config.replay {
                Replay::Alternate => {
                    trainer.step(&old)?;
                    trainer.step(batch)
                }
                Replay::Concat => trainer.step(&[batch, &old].concat()),
            }
        })?;
        self.memory.push(memory::select(&self.learner, task, session)?);
        Ok(())
    }

    fn predict(&self, batch: &Batch, seen: &Seen) -> Result<Vec<Prediction>> {
        self.learner.predict(batch, &seen.allowed)
    }

    fn batch<'a>(&self, rows: &[&'a Example]) -> Result<Batch<'a>> {
        self.learner.batch(rows)
    }

    fn state(&self) -> Result<State> {
        let ids = |rows: &Vec<Example>| rows.iter().map(|row| row.id.clone()).collect();
        Ok(State { tensors: self.learner.params().tensors()?, memory: self.memory.iter().map(ids).collect() })
    }

    fn restore(&mut self, state: State, session: &Session) -> Result<()> {
        self.learner.params().load(&state.tensors)?;
        let rows = |task: usize, ids: Vec<String>| -> Result<Vec<Example>> {
            let train = session.benchmark.training(task, &session.blueprint.tokenizer)?;
            let mut by_id: BTreeMap<String, Example> = train.into_iter().map(|row| (row.id.clone(), row)).collect();
            let missing = |id: &str| Error::Usage(format!("the checkpoint stores row {id}, which task {task} lacks"));
            ids.into_iter().map(|id| by_id.remove(&id).ok_or_else(|| missing(&id))).collect()
        };
        self.memory = state.memory.into_iter().enumerate().map(|(task, ids)| rows(task, ids)).collect::<Result<_>>()?;
        Ok(())
    }
}
