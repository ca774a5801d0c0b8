//! LMC (Chen et al. 2023, "Continual Multimodal Knowledge Graph Construction", arXiv 2305.08698; later MSPT).
//!
//! Task k: `epochs` over its rows with `L_task`, from k = 2 on `L_task + λ (L_AD^text + L_AD^vision)`, where the teacher
//! is the network after task k−1, frozen and without dropout; then up to `memory_per_class` rows per class are stored;
//! then, from k = 2 on, `memory_epochs` over the whole memory with `L_task`. One optimiser serves the whole stream.
//! Every step's gradients are modulated (*balanced learning rhythm*, OGM-GE of Peng et al. 2022):
//!
//! ```text
//! ρ^v = s^v / s^t = 1 / ρ^t,  κ = 1 − tanh(α ρ) for the stream with ρ > 1, else 1
//! g ← κ g + ε,  ε ~ N(0, std(g)²)      for the variables of a stream; head and shared keys keep theirs
//! ```
//!
//! `lmc` is the paper's description: a shared key matrix per upper layer, distillation of pooled attention maps.
//! `lmc-released` is the arithmetic of the authors' code: a key vector, which cancels in the softmax, and a distillation
//! whose gradient is zero (`key = "released"`). Kept of the code for it: those two, and the modulation. Mended in both:
//! crops looked up by the row's number in the full file, replayed rows under their own label, the bias halved outside
//! the product, the teacher in evaluation mode, scores of the last epoch instead of the best on test.

mod teacher;

use candle_core::Tensor;
use candle_core::backprop::GradStore;
use mkgc_models::mode::Mode;
use mkgc_models::modulation::{self, Change, Coefficients};
use mkgc_models::optim::AdamW;
use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::memory::{self, Memory};
use super::phases::{CURRENT, Objective, Trainer, all};
use super::{Method, Session, State};
use crate::config::Config;
use crate::data::{Batch, Example, Seen, Task};
use crate::error::Result;
use crate::learner::{Items, Learner};
use crate::seed;
pub use teacher::Teacher;

/// One network, its optimiser for the whole stream, stored rows.
pub struct Lmc {
    learner: Learner,
    optimiser: AdamW,
    memory: Memory,
}

impl Lmc {
    /// A fresh network, empty memory.
    pub fn new(session: &mut Session<'_>) -> Result<Self> {
        let learner = session.learner(0)?;
        let optimiser = session.optimiser(&learner)?;
        Ok(Self { learner, optimiser, memory: Memory::default() })
    }

    /// A phase of the task over rows, with a teacher or without.
    fn phase(
        &mut self,
        name: &str,
        passes: (usize, &[&Example]),
        teacher: Option<&Teacher>,
        seen: &Seen,
        session: &mut Session<'_>,
    ) -> Result<()> {
        let mut objective = Balanced::new(session.config, teacher, seen.stage, name);
        let mut trainer = Trainer::new(&self.learner, &mut self.optimiser, seen, session, name);
        trainer.epochs(session, passes, &mut objective, |batch| vec![(name, batch)])
    }
}

/// `L_task + λ L_AD` with modulated gradients.
struct Balanced<'a> {
    config: &'a Config,
    teacher: Option<&'a Teacher>,
    noise: ChaCha8Rng,
    coefficients: Coefficients,
}

impl<'a> Balanced<'a> {
    fn new(config: &'a Config, teacher: Option<&'a Teacher>, stage: usize, phase: &str) -> Self {
        let noise = seed::generator(config.train_seed, &format!("noise/{phase}"), stage);
        Self { config, teacher, noise, coefficients: Coefficients::default() }
    }
}

impl Objective for Balanced<'_> {
    fn loss(&mut self, learner: &Learner, batch: &Batch, allowed: &[bool], mode: &mut Mode<'_>) -> Result<Tensor> {
        let forward = learner.forward(batch, mode)?;
        if self.config.alpha > 0.0 {
            self.coefficients = coefficients(learner, &forward.features, batch, allowed, self.config.alpha)?;
        }
        let loss = learner.task_loss(&learner.scores(&forward.features)?, batch, allowed)?;
        match self.teacher {
            Some(teacher) => Ok((loss + (teacher.distillation(&forward, batch)? * self.config.lambda)?)?),
            None => Ok(loss),
        }
    }

    fn adjust(&mut self, learner: &Learner, grads: &mut GradStore) -> Result<()> {
        let mut changes = Vec::new();
        for (name, var) in learner.params().vars() {
            let Some(factor) = stream_coefficient(&name, &self.coefficients) else { continue };
            if grads.get(var.as_tensor()).is_some() && (factor != 1.0 || self.config.noise) {
                let noise = self.config.noise.then(|| self.noise.random());
                changes.push(Change { var: var.as_tensor().clone(), factor, noise });
            }
        }
        Ok(modulation::modulate(grads, &changes)?)
    }
}

/// κ of the stream a variable belongs to; none for the head and the shared keys. A head's feature layer (`dense`, `norm`)
/// reads the text alone and belongs to its stream.
fn stream_coefficient(name: &str, coefficients: &Coefficients) -> Option<f64> {
    let feature = name.starts_with("head.dense.") || name.starts_with("head.norm.");
    if (name.starts_with("head.") && !feature) || name.starts_with("shared.") {
        None
    } else if name.starts_with("vision") {
        Some(coefficients.vision)
    } else {
        Some(coefficients.text)
    }
}

/// κ of both streams from the scores each gives alone; detached.
fn coefficients(
    learner: &Learner,
    features: &Tensor,
    batch: &Batch,
    allowed: &[bool],
    alpha: f64,
) -> Result<Coefficients> {
    let (text, vision) = learner.stream_scores(&features.detach())?;
    let items = |scores: &Tensor| Items::of(learner.kind(), scores, batch, |_| true);
    let (Some(text), Some(vision)) = (items(&text)?, items(&vision)?) else { return Ok(Coefficients::default()) };
    let gold = Tensor::new(text.labels, text.features.device())?;
    let (text, vision, items) = (text.features.detach(), vision.features.detach(), gold.ones_like()?);
    Ok(modulation::coefficients(&text, &vision, &gold, &items, Some(allowed), alpha)?)
}

impl Method for Lmc {
    fn learn(&mut self, task: &Task, session: &mut Session<'_>) -> Result<()> {
        let (config, seen) = (session.config, &task.seen);
        if config.optimiser_per_task && seen.stage > 0 {
            self.optimiser = session.optimiser(&self.learner)?;
        }
        let teacher = if seen.stage > 0 && config.lambda > 0.0 {
            session.ledger.event("teacher");
            Teacher::new(&self.learner, &task.train, config)?
        } else {
            None
        };
        self.phase(CURRENT, (config.epochs, &all(&task.train)), teacher.as_ref(), seen, session)?;
        self.memory.push(memory::select(&self.learner, task, session)?);
        if seen.stage > 0 {
            let mut rows = self.memory.replayed(seen.stage, session).concat();
            rows.extend_from_slice(self.memory.newest());
            self.phase("memory", (config.memory_epochs, &all(&rows)), None, seen, session)?;
        }
        Ok(())
    }

    fn learner(&self) -> &Learner {
        &self.learner
    }

    fn memory(&self) -> Option<&Memory> {
        Some(&self.memory)
    }

    fn memory_mut(&mut self) -> Option<&mut Memory> {
        Some(&mut self.memory)
    }

    fn state(&self) -> Result<State> {
        Ok(State::new(&self.learner)?.with("optimiser", self.optimiser.state()?))
    }

    fn restore(&mut self, state: &mut State) -> Result<()> {
        state.restore(&self.learner)?;
        Ok(self.optimiser.load_state(&state.take("optimiser"))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heads_feature_layer_is_modulated_with_the_text_it_reads() {
        let coefficients = Coefficients { text: 0.5, vision: 0.25, ..Coefficients::default() };
        for (name, expected) in [
            ("head.dense.weight", Some(0.5)),
            ("head.norm.bias", Some(0.5)),
            ("head.classifier.weight", None),
            ("head.crf.transitions", None),
            ("shared.key.2", None),
            ("vision.crop_positions.weight", Some(0.25)),
            ("embeddings.word_embeddings.weight", Some(0.5)),
        ] {
            assert_eq!(stream_coefficient(name, &coefficients), expected, "{name}");
        }
    }
}
