//! EWC, elastic weight consolidation (Kirkpatrick et al. 2017), online form (Schwarz et al. 2018):
//!
//! ```text
//! L(θ) = L_task + (λ/2) Σ_i F_i (θ_i − θ*_i)²           from the second task on
//! F   ← γ F + (1/n) Σ_rows (∂ log p(y | x) / ∂θ)²,  θ* ← θ    after each task
//! ```
//! Fisher information is empirical (gold labels), of single rows (squaring the gradient of a batch is another, smaller
//! quantity), without dropout, over at most `fisher_rows` rows of the task drawn at random. Rows of the classifier that
//! belong to classes not seen have no gradient, hence F = 0, and are free. No row is stored: the memory is F and θ*,
//! twice the size of the network.

use std::collections::BTreeMap;

use candle_core::backprop::GradStore;
use candle_core::{Tensor, Var};
use mkgc_models::mode::Mode;
use mkgc_models::ops::backward;
use rand::seq::index;

use super::phases::{CURRENT, Objective, TaskLoss, all, fit};
use super::{Method, Session, State};
use crate::data::{Batch, Example, Seen, Task};
use crate::error::Result;
use crate::learner::Learner;
use crate::seed;

/// F and θ* of one variable.
struct Anchor {
    fisher: Tensor,
    value: Tensor,
}

/// One network with what holds it in place.
pub struct Ewc {
    learner: Learner,
    anchors: BTreeMap<String, Anchor>,
}

impl Ewc {
    /// A fresh network, nothing to hold on to.
    pub fn new(session: &mut Session<'_>) -> Result<Self> {
        Ok(Self { learner: session.learner(0)?, anchors: BTreeMap::new() })
    }

    /// The mean over rows of squared gradients, by variable.
    fn fisher(&self, rows: &[&Example], seen: &Seen) -> Result<BTreeMap<String, Tensor>> {
        let mut sums: BTreeMap<String, Tensor> = BTreeMap::new();
        for row in rows {
            let batch = self.learner.batch(&[row])?;
            let grads = backward(&self.learner.loss(&batch, &seen.allowed, &mut Mode::Eval)?)?;
            for (name, var) in self.learner.params().vars() {
                let Some(grad) = grads.get(var.as_tensor()) else { continue };
                let square = grad.sqr()?;
                let sum = match sums.remove(&name) {
                    Some(sum) => (sum + square)?,
                    None => square,
                };
                sums.insert(name, sum);
            }
        }
        let n = rows.len().max(1) as f64;
        sums.into_iter().map(|(name, sum)| Ok((name, (sum / n)?))).collect()
    }

    fn consolidate(&mut self, task: &Task, session: &mut Session<'_>) -> Result<()> {
        let config = session.config;
        let mut rng = seed::generator(config.train_seed, "fisher", task.seen.stage);
        let n = config.fisher_rows.min(task.train.len());
        let mut drawn = index::sample(&mut rng, task.train.len(), n).into_vec();
        drawn.sort_unstable();
        let rows: Vec<&Example> = drawn.into_iter().map(|row| &task.train[row]).collect();
        session.ledger.fisher(&rows);
        let mut fresh = self.fisher(&rows, &task.seen)?;
        for (name, var) in self.learner.params().vars() {
            let new = fresh.remove(&name).map_or_else(|| var.zeros_like(), Ok)?;
            let fisher = match self.anchors.remove(&name) {
                Some(old) => ((old.fisher * config.ewc_gamma)? + new)?,
                None => new,
            };
            self.anchors.insert(name, Anchor { fisher, value: var.as_tensor().copy()? });
        }
        Ok(())
    }
}

/// The task's loss; the penalty enters through its gradient λF(θ − θ*).
struct Penalised<'a> {
    anchors: &'a BTreeMap<String, Anchor>,
    lambda: f64,
}

impl Objective for Penalised<'_> {
    fn loss(&mut self, learner: &Learner, batch: &Batch, allowed: &[bool], mode: &mut Mode<'_>) -> Result<Tensor> {
        TaskLoss.loss(learner, batch, allowed, mode)
    }

    fn adjust(&mut self, learner: &Learner, grads: &mut GradStore) -> Result<()> {
        if self.lambda == 0.0 {
            return Ok(());
        }
        for (name, var) in learner.params().vars() {
            let Some(anchor) = self.anchors.get(&name) else { continue };
            let pull = penalty_gradient(&var, anchor, self.lambda)?;
            let grad = match grads.remove(var.as_tensor()) {
                Some(grad) => (grad + pull)?,
                None => pull,
            };
            grads.insert(var.as_tensor(), grad);
        }
        Ok(())
    }
}

fn penalty_gradient(var: &Var, anchor: &Anchor, lambda: f64) -> Result<Tensor> {
    Ok((((var.as_tensor().detach() - &anchor.value)? * &anchor.fisher)? * lambda)?)
}

impl Method for Ewc {
    fn learn(&mut self, task: &Task, session: &mut Session<'_>) -> Result<()> {
        let rows = (session.config.epochs, &*all(&task.train));
        let mut objective = Penalised { anchors: &self.anchors, lambda: session.config.ewc_lambda };
        fit(&self.learner, &task.seen, session, CURRENT, rows, &mut objective)?;
        self.consolidate(task, session)
    }

    fn learner(&self) -> Option<&Learner> {
        Some(&self.learner)
    }

    fn state(&self) -> Result<State> {
        let part = |of: fn(&Anchor) -> &Tensor| {
            self.anchors.iter().map(|(name, anchor)| (name.clone(), of(anchor).clone())).collect()
        };
        let state = State::new(&self.learner)?;
        Ok(state.with("fisher", part(|anchor| &anchor.fisher)).with("anchor", part(|anchor| &anchor.value)))
    }

    fn restore(&mut self, state: &mut State) -> Result<()> {
        state.restore(&self.learner)?;
        let mut values = state.take("anchor");
        let anchors = state.take("fisher").into_iter().filter_map(|(name, fisher)| {
            let value = values.remove(&name)?;
            Some((name, Anchor { fisher, value }))
        });
        self.anchors = anchors.collect();
        Ok(())
    }
}
