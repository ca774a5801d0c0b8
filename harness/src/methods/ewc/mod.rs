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
//!
//! λ is chosen from `ewc_grid`: at the second task, each value trains from the same state with the same seeds, and the
//! one with the best micro-F1 on the validation rows of the first two tasks stays for the rest of the stream, the smaller
//! one of equals. While the largest value is at most one standard error below the best, ten times that value is tried
//! too, up to 1e12: where F is small, perhaps no value of the grid acts. Test rows are never looked at. `run.json` holds every
//! value's score; steps of the values that were not kept are counted apart (`tuning_steps`).
//!
//! The factor ½ is the papers'. A λ of others' code means here, for the same F:
//!
//! | code | penalty | its F | this λ |
//! |---|---|---|---|
//! | Avalanche | λ Σ F (θ − θ*)² | square of a batch's mean gradient, mean over batches | 2 λ |
//! | Mammoth (`ewc_on`) | gradient 2 λ F (θ − θ*) | of single rows, weighted with p(y given x), over rows of full batches | 2 λ |
//! | ContinueMKGC | γ Σ F (θ − θ*)² | square of the running sum of batches' gradients, over rows of full batches | 2 γ |
//!
//! The penalty's gradient is added before the norm is clipped, so `clip_norm` limits both together, as where a penalty
//! is part of the loss: a large λ does not make larger steps, it turns them. Not taken over from ContinueMKGC, the only
//! published EWC on these corpora: the running sum of gradients, which are never set to zero; the second division by the
//! batch size; F and θ* replaced after each task instead of summed up; Fisher information with dropout.

mod tuning;

use std::collections::BTreeMap;

use candle_core::backprop::GradStore;
use candle_core::{Tensor, Var};
use mkgc_models::mode::Mode;
use mkgc_models::ops::backward;
use rand::seq::index;

use super::journal::{PartProgress, Start};
use super::method::{Method, Session};
use super::shared::predict::predict;
use super::shared::training::{Objective, TaskLoss, set_all, train_task};
use super::spec::{Keeps, MethodSpec};
use crate::config::settings::TRAINING;
use crate::data::{Batch, Example, Task};
use crate::error::Result;
use crate::learner::Learner;
use crate::metrics::stage;
use crate::run::checkpoint::State;
use crate::run::lambda::LambdaChoice;
use crate::run::record::DatasetRecord;
use crate::seed;

/// `ewc`: elastic weight consolidation (Kirkpatrick et al. 2017) in its online form (Schwarz et al. 2018).
pub const EWC: MethodSpec = MethodSpec {
    about: "holds weights in place by their Fisher information (online form)",
    source: "Kirkpatrick et al. 2017; Schwarz et al. 2018",
    keeps: Keeps::Other("Fisher information and old weights"),
    settings: &[TRAINING, &["ewc_lambda", "ewc_grid", "ewc_gamma", "fisher_rows"]],
    later_settings: &["ewc_lambda", "ewc_grid", "ewc_gamma"],
    ..MethodSpec::new("ewc", |session| Ok(Box::new(Ewc::new(session)?)))
};

/// F and θ* of one variable.
pub(crate) struct Anchor {
    pub(crate) fisher: Tensor,
    pub(crate) value: Tensor,
}

/// F and θ* of every variable that has had a gradient, by name.
pub(crate) type Anchors = BTreeMap<String, Anchor>;

/// The network and the anchors that hold it in place.
pub struct Ewc {
    learner: Learner,
    anchors: Anchors,
    choice: Option<LambdaChoice>,
}

impl Ewc {
    /// Makes a network without anchors.
    ///
    /// # Errors
    /// A grid to choose λ from, but no validation rows to choose by.
    pub fn new(session: &mut Session<'_>) -> Result<Self> {
        if !session.config.ewc_grid.is_empty() && session.benchmark.tasks() > 1 {
            tuning::validation_rows(session.benchmark)?;
        }
        Ok(Self { learner: session.learner(0)?, anchors: BTreeMap::new(), choice: None })
    }

    /// Trains on a task's rows with this λ.
    fn train(&self, lambda: f64, task: &Task, session: &mut Session<'_>) -> Result<()> {
        let mut objective = Penalised { anchors: &self.anchors, lambda };
        train_task(&self.learner, task, session, &mut objective)
    }

    /// Trains with each λ of the grid, leaves the network as the best one made it, and returns the choice.
    fn choose(&self, task: &Task, session: &mut Session<'_>) -> Result<LambdaChoice> {
        let rows = tuning::validation_rows(session.benchmark)?;
        let (lambda, scores) = tuning::search(&self.learner, session, rows.len(), |lambda, session| {
            self.train(lambda, task, session)?;
            let predicted = predict(self, session, &task.seen, &rows)?;
            let dataset = DatasetRecord::new(session.benchmark.manifest());
            // The rows have a class, so the score is a number.
            Ok(stage::score(&dataset, task.seen.task, &predicted).micro_f1.number().unwrap_or_default())
        })?;
        Ok(LambdaChoice { lambda, validation_rows: rows.len(), scores })
    }

    fn consolidate(&mut self, task: &Task, session: &mut Session<'_>) -> Result<()> {
        let config = session.config;
        let mut rng = seed::generator(config.train_seed, "fisher", task.seen.task);
        let n = config.fisher_rows.min(task.train.len());
        let mut drawn = index::sample(&mut rng, task.train.len(), n).into_vec();
        drawn.sort_unstable();
        let rows: Vec<&Example> = drawn.into_iter().map(|row| &task.train[row]).collect();
        session.trace.fisher(&rows);
        let squares = self.squares(&rows, &task.seen.allowed, session)?;
        let anchors = std::mem::take(&mut self.anchors);
        self.anchors = anchored(&self.learner, anchors, squares, (config.ewc_gamma, n))?;
        Ok(())
    }

    /// Sums the squared gradients of single rows. A run can be left after any row and go on there.
    fn squares(
        &self,
        rows: &[&Example],
        allowed: &[bool],
        session: &mut Session<'_>,
    ) -> Result<BTreeMap<String, Tensor>> {
        let learner = &self.learner;
        let mut sums = BTreeMap::new();
        let mut first = 0;
        if let Start::Within(PartProgress { mut state, numbers }) = session.journal.start("fisher")? {
            set_all(learner.params().vars().iter(), &state.take("variables"))?;
            sums = state.take("sums");
            first = numbers.get("rows").copied().unwrap_or_default() as usize;
            session.resume_log();
        }
        for (row, done) in rows.iter().zip(1..).skip(first) {
            add_squares(&mut sums, learner, &learner.batch(&[row])?, allowed, |_, gradient| Ok(gradient))?;
            session.journal.step(&*session.log, || {
                let state = State::default().with("variables", learner.params().tensors()?).with("sums", sums.clone());
                Ok(PartProgress { state, numbers: [("rows".to_owned(), done)].into() })
            })?;
        }
        Ok(sums)
    }
}

/// Sums squared gradients over batches, by variable, without dropout. `of` makes what is squared of the gradient of a
/// variable for a batch: the gradient itself in EWC.
#[cfg(test)]
pub(crate) fn squares<'b>(
    learner: &Learner,
    batches: impl Iterator<Item = Result<Batch<'b>>>,
    allowed: &[bool],
    mut of: impl FnMut(&str, Tensor) -> Result<Tensor>,
) -> Result<BTreeMap<String, Tensor>> {
    let mut sums = BTreeMap::new();
    for batch in batches {
        add_squares(&mut sums, learner, &batch?, allowed, &mut of)?;
    }
    Ok(sums)
}

/// Adds the squared gradients of a batch to sums by variable.
fn add_squares(
    sums: &mut BTreeMap<String, Tensor>,
    learner: &Learner,
    batch: &Batch<'_>,
    allowed: &[bool],
    mut of: impl FnMut(&str, Tensor) -> Result<Tensor>,
) -> Result<()> {
    let mut grads = backward(&learner.loss(batch, allowed, &mut Mode::Eval)?)?;
    for (name, var) in learner.params().vars() {
        let Some(gradient) = grads.remove(var.as_tensor()) else { continue };
        let square = of(&name, gradient)?.sqr()?;
        let sum = match sums.remove(&name) {
            Some(sum) => (sum + square)?,
            None => square,
        };
        sums.insert(name, sum);
    }
    Ok(())
}

/// Computes the next anchors: γ F + squares / n, at the network's values.
pub(crate) fn anchored(
    learner: &Learner,
    mut old: Anchors,
    mut squares: BTreeMap<String, Tensor>,
    (gamma, n): (f64, usize),
) -> Result<Anchors> {
    let mut anchors = BTreeMap::new();
    for (name, var) in learner.params().vars() {
        let new = squares.remove(&name).map(|sum| sum / n.max(1) as f64).transpose()?;
        let old = old.remove(&name).map(|anchor| anchor.fisher * gamma).transpose()?;
        let fisher = match (old, new) {
            (Some(old), Some(new)) => (old + new)?,
            (Some(only), None) | (None, Some(only)) => only,
            (None, None) => continue,
        };
        anchors.insert(name, Anchor { fisher, value: var.as_tensor().copy()? });
    }
    Ok(anchors)
}

/// The task's loss; the penalty enters through its gradient λF(θ − θ*).
pub(crate) struct Penalised<'a> {
    pub(crate) anchors: &'a Anchors,
    pub(crate) lambda: f64,
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
        if task.seen.task == 1 && !session.config.ewc_grid.is_empty() {
            self.choice = Some(self.choose(task, session)?);
        } else {
            let lambda = self.choice.as_ref().map_or(session.config.ewc_lambda, |choice| choice.lambda);
            self.train(lambda, task, session)?;
        }
        self.consolidate(task, session)
    }

    fn resumes_inside(&self) -> bool {
        true
    }

    fn learner(&self) -> Option<&Learner> {
        Some(&self.learner)
    }

    fn choice(&self) -> Option<&LambdaChoice> {
        self.choice.as_ref()
    }

    fn state(&self) -> Result<State> {
        let part = |of: fn(&Anchor) -> &Tensor| {
            self.anchors.iter().map(|(name, anchor)| (name.clone(), of(anchor).clone())).collect()
        };
        let state = self.learner.state()?;
        let state = state.with("fisher", part(|anchor| &anchor.fisher)).with("anchor", part(|anchor| &anchor.value));
        Ok(state.with("choice", tuning::to_state(self.choice.as_ref())?))
    }

    fn restore(&mut self, state: &mut State) -> Result<()> {
        self.learner.restore(state)?;
        let mut values = state.take("anchor");
        let anchors = state.take("fisher").into_iter().filter_map(|(name, fisher)| {
            let value = values.remove(&name)?;
            Some((name, Anchor { fisher, value }))
        });
        self.anchors = anchors.collect();
        self.choice = tuning::from_state(&state.take("choice"))?;
        Ok(())
    }
}
