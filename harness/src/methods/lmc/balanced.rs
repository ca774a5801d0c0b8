//! LMC's objective: the task's loss with the distillation of attention maps, and gradients modulated by the balance of the
//! streams (formulas in [`super`]).

use candle_core::Tensor;
use candle_core::backprop::GradStore;
use mkgc_models::inputs::Stream;
use mkgc_models::losses::modulation::{self, Balance, Change, Coefficients};
use mkgc_models::mode::Mode;
use mkgc_models::networks::Key;
use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::teacher::Teacher;
use crate::config::Config;
use crate::data::Batch;
use crate::error::Result;
use crate::learner::{Forward, Learner};
use crate::methods::shared::balance::{RHO, StreamScores, sums};
use crate::methods::shared::training::Objective;
use crate::seed;

/// `L_task + λ L_AD` with modulated gradients.
pub(crate) struct Balanced<'a> {
    config: &'a Config,
    teacher: Option<&'a Teacher>,
    noise: ChaCha8Rng,
    /// ρ of the vision stream in the last step.
    pub(crate) ratio: f64,
    pub(crate) coefficients: Coefficients,
    /// `[s_text, s_vision]` while they are on a GPU, so that nothing waits for them.
    sums: Option<Tensor>,
    /// Take the text's own scores as the released code for relations does, `h (Wᵀ + b/2)`; off in every run.
    pub(crate) bracketed: bool,
}

impl<'a> Balanced<'a> {
    pub(crate) fn new(config: &'a Config, teacher: Option<&'a Teacher>, stage: usize, phase: &str) -> Self {
        let noise = seed::generator(config.train_seed, &format!("noise/{phase}"), stage);
        let coefficients = Coefficients::default();
        Self { config, teacher, noise, ratio: 1.0, coefficients, sums: None, bracketed: false }
    }

    /// Computes `[s_text, s_vision]` of this step on the device.
    fn sums(&self, learner: &Learner, forward: &Forward, batch: &Batch, allowed: &[bool]) -> Result<Tensor> {
        let states = forward.undropped.detach();
        let (mut text, vision) = learner.stream_scores(&states)?;
        if self.bracketed {
            text = learner.bracketed_text_scores(&states)?;
        }
        sums(&StreamScores { text, vision }, batch, allowed, self.config.key == Key::Released)
    }

    /// Returns where κ of this step comes from.
    fn balance(&self) -> Balance {
        match &self.sums {
            Some(sums) => Balance::OnDevice { sums: sums.clone(), alpha: self.config.alpha },
            None => Balance::Known(self.coefficients),
        }
    }
}

impl Objective for Balanced<'_> {
    fn loss(&mut self, learner: &Learner, batch: &Batch, allowed: &[bool], mode: &mut Mode<'_>) -> Result<Tensor> {
        let forward = learner.forward(batch, mode)?;
        if self.config.alpha > 0.0 {
            let sums = self.sums(learner, &forward, batch, allowed)?;
            if sums.device().is_cpu() {
                self.read(&sums.to_vec1()?);
            } else {
                self.sums = Some(sums);
            }
        }
        let loss = learner.task_loss(&learner.scores(&forward.features)?, batch, allowed)?;
        match self.teacher {
            Some(teacher) => Ok((loss + (teacher.distillation(&forward, batch)? * self.config.lambda)?)?),
            None => Ok(loss),
        }
    }

    fn scalars(&self) -> Option<Vec<(&'static str, f64)>> {
        if self.config.alpha <= 0.0 {
            return None;
        }
        let Coefficients { text, vision } = self.coefficients;
        let ratio = self.ratio.is_finite().then_some((RHO, self.ratio));
        Some(ratio.into_iter().chain([("kappa_text", text), ("kappa_vision", vision)]).collect())
    }

    fn pending(&self) -> Option<&Tensor> {
        self.sums.as_ref()
    }

    fn read(&mut self, numbers: &[f32]) {
        if let [text, vision] = *numbers {
            self.ratio = modulation::ratio([text, vision]);
            self.coefficients = Coefficients::new(self.ratio, self.config.alpha);
        }
    }

    fn generator(&mut self) -> Option<&mut ChaCha8Rng> {
        Some(&mut self.noise)
    }

    fn adjust(&mut self, learner: &Learner, grads: &mut GradStore) -> Result<()> {
        let balance = self.balance();
        if !self.config.noise && matches!(balance, Balance::Known(known) if known == Coefficients::default()) {
            return Ok(());
        }
        let mut changes = Vec::new();
        for (name, var) in learner.params().vars() {
            let Some(stream) = stream_of(&name) else { continue };
            if grads.get(var.as_tensor()).is_some() {
                let noise = self.config.noise.then(|| self.noise.random());
                changes.push(Change { var: var.as_tensor().clone(), stream, noise });
            }
        }
        Ok(modulation::modulate(grads, &changes, &balance)?)
    }
}

/// Returns the stream that a variable belongs to; none for the head and the shared keys. A head's feature layer
/// (`dense`, `norm`) reads the text alone and belongs to its stream.
fn stream_of(name: &str) -> Option<Stream> {
    let feature = name.starts_with("head.dense.") || name.starts_with("head.norm.");
    if (name.starts_with("head.") && !feature) || name.starts_with("shared.") {
        None
    } else if name.starts_with("vision") {
        Some(Stream::Vision)
    } else {
        Some(Stream::Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heads_feature_layer_is_modulated_with_the_text_it_reads() {
        for (name, expected) in [
            ("head.dense.weight", Some(Stream::Text)),
            ("head.norm.bias", Some(Stream::Text)),
            ("head.classifier.weight", None),
            ("head.crf.transitions", None),
            ("shared.key.2", None),
            ("vision.crop_positions.weight", Some(Stream::Vision)),
            ("embeddings.word_embeddings.weight", Some(Stream::Text)),
        ] {
            assert_eq!(stream_of(name), expected, "{name}");
        }
    }
}
