//! Training phases the methods share: optimiser steps on batches, epochs over rows.

use mkgc_models::mode::{DropoutRng, Mode};
use mkgc_models::optim::AdamW;
use rand_chacha::ChaCha8Rng;

use super::Session;
use crate::config::Softmax;
use crate::data::{Example, Seen, batches};
use crate::error::{Error, Result};
use crate::learner::Learner;
use crate::seed;

/// A phase: one optimiser (fresh moments) and its own shuffle and dropout generators.
pub struct Trainer<'a> {
    learner: &'a Learner,
    optimiser: AdamW,
    dropout: DropoutRng,
    shuffle: ChaCha8Rng,
    allowed: Vec<bool>,
    clip: f64,
}

impl<'a> Trainer<'a> {
    /// A phase of the task in `seen`.
    pub fn new(learner: &'a Learner, seen: &Seen, session: &Session) -> Result<Self> {
        let config = session.config;
        let allowed = match config.softmax {
            Softmax::Seen => seen.allowed.clone(),
            Softmax::Current => seen.current.clone(),
            Softmax::All => vec![true; seen.allowed.len()],
        };
        Ok(Self {
            learner,
            optimiser: learner.optimiser(config)?,
            dropout: DropoutRng::new(seed::derive(config.train_seed, "dropout", seen.stage)),
            shuffle: seed::generator(config.train_seed, "shuffle", seen.stage),
            allowed,
            clip: config.clip_norm,
        })
    }

    /// One optimiser step on the mean loss of `rows`; returns the loss.
    pub fn step(&mut self, rows: &[&Example]) -> Result<f64> {
        let batch = self.learner.batch(rows)?;
        let loss = self.learner.loss(&batch, &self.allowed, &mut Mode::Train(&mut self.dropout))?;
        let value = f64::from(loss.to_scalar::<f32>()?);
        if !value.is_finite() {
            let reason = "lower lr_encoder or lr_head, or check the encoder's weights";
            return Err(Error::Usage(format!("the training loss became {value}: {reason}")));
        }
        self.optimiser.step(&loss.backward()?, Some(self.clip))?;
        Ok(value)
    }

    /// `config.epochs` passes over `rows` in shuffled batches; `step` does what the method does with each batch and
    /// returns the loss on it.
    pub fn epochs(
        &mut self,
        rows: &[Example],
        session: &mut Session,
        mut step: impl FnMut(&mut Self, &[&Example]) -> Result<f64>,
    ) -> Result<()> {
        let config = session.config;
        let rows: Vec<&Example> = rows.iter().collect();
        session.log.phase(config.epochs * rows.len());
        for epoch in 0..config.epochs {
            for batch in batches(&rows, config.batch_size, &mut self.shuffle) {
                let loss = step(self, &batch)?;
                session.log.step(epoch, batch.len(), loss)?;
            }
        }
        session.log.end_phase()
    }
}
