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
//! `lmc-released` is the arithmetic of the authors' code (`key = "released"`): a key vector, which cancels in the
//! softmax, and a distillation whose gradient is zero. Tensors that their code made are reproduced by both tests of
//! `crate::authors::lmc`. Where their code departs from the paper or slips, this is what becomes of it:
//!
//! | the authors' code | `lmc-released` | `lmc` |
//! |---|---|---|
//! | no `post_layernorm` on the vision state that the head reads | kept | kept |
//! | NER: the vision state + BERT's own position row i | kept | kept |
//! | one key for all positions; the text's bias divided by √d | kept | a key per position, bias undivided |
//! | distillation counts rows; text and vision pooled differently | kept | mean squares, pooled alike |
//! | padding takes part in it | real positions ¹ | real positions |
//! | noise of the size of the gradient before κ, plus 1e-8 | kept ² | kept ² |
//! | weight decay on biases, norms and embeddings too | kept | kept |
//! | no distillation in replay, after which the teacher is taken | kept | kept |
//! | NER: ρ counts padding, whose gold is label 0 | kept: padded words, gold `O` ³ | real words |
//! | RE: text scores for ρ are `h (Wᵀ + b/2)`, not `W h + b/2` | mended ⁴ | mended |
//! | the softmax runs over all labels, those of later tasks too | with `softmax = "all"` ⁵ | the same |
//! | NER: a CRF over word pieces with tags X, `[CLS]`, `[SEP]`, PAD | over words ⁶ | over words |
//! | grounding crops by row number in the task's file, not the whole one | mended ⁷ | mended |
//! | a row stored under another's label, from half of a task only | mended | mended |
//! | the teacher keeps its dropout | mended | mended |
//! | the best test score of all epochs is reported | the last epoch's | the last epoch's |
//!
//! ¹ Their texts are padded to one length, batches here to their longest row. No gradient depends on it. ² Positions of both
//! kinds of crops are one variable here and get noise of one size. ³ Such a word reads position 0. ⁴ It changes ρ by a
//! few percent. ⁵ By default labels seen so far compete, as in every other method here: with all, each task pushes down
//! the labels of the tasks to come. ⁶ As every NER method here, so that spans are scored alike. ⁷ One row of 12,233 got a
//! crop of its own picture.
//!
//! `replay_o = "mask"`, the default of `lmc`, is this project's and in neither paper nor code: a stored sentence was
//! annotated before newer types existed, so its `O` counts as unknown. `lmc-released` keeps `O` (`"keep"`), as they do.
//! Which rows of a task are stored is in [`super::memory`].

mod teacher;

use candle_core::Tensor;
use candle_core::backprop::GradStore;
use mkgc_models::inputs::Stream;
use mkgc_models::losses::modulation::{self, Balance, Change, Coefficients};
use mkgc_models::mode::Mode;
use mkgc_models::networks::Key;
use mkgc_models::optim::AdamW;
use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::memory::{self, Memory};
use super::phases::{CURRENT, Objective, RHO, Trainer, all};
use super::{Method, Session, State};
use crate::config::Config;
use crate::data::{Batch, Example, Seen, Task, UNKNOWN};
use crate::error::Result;
use crate::learner::{Forward, Learner};
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
pub(crate) struct Balanced<'a> {
    config: &'a Config,
    teacher: Option<&'a Teacher>,
    noise: ChaCha8Rng,
    /// ρ of vision in the last step.
    pub(crate) ratio: f64,
    pub(crate) coefficients: Coefficients,
    /// What both follow from, as long as it is on a GPU: nothing waits for it.
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

    /// `[s_text, s_vision]` of this step, on the device.
    fn sums(&self, learner: &Learner, forward: &Forward, batch: &Batch, allowed: &[bool]) -> Result<Tensor> {
        let states = forward.undropped.detach();
        let (mut text, vision) = learner.stream_scores(&states)?;
        if self.bracketed {
            text = learner.bracketed_text_scores(&states)?;
        }
        sums((&text, &vision), batch, allowed, self.config.key == Key::Released)
    }

    /// Where κ of this step comes from.
    fn balance(&self) -> Balance {
        match &self.sums {
            Some(sums) => Balance::OnDevice { sums: sums.clone(), alpha: self.config.alpha },
            None => Balance::Known(self.coefficients),
        }
    }
}

/// ρ of vision from the scores that each stream gives alone, without dropout and detached.
pub(super) fn ratio(learner: &Learner, forward: &Forward, batch: &Batch, allowed: &[bool]) -> Result<f64> {
    let (text, vision) = learner.stream_scores(&forward.undropped.detach())?;
    let sums = sums((&text, &vision), batch, allowed, false)?.to_vec1::<f32>()?;
    Ok(modulation::ratio([sums[0], sums[1]]))
}

/// `[s_text, s_vision]`, on the device. With `padding`, padded words count as label 0.
fn sums((text, vision): (&Tensor, &Tensor), batch: &Batch, allowed: &[bool], padding: bool) -> Result<Tensor> {
    let flat = |scores: &Tensor| scores.detach().reshape(((), allowed.len()));
    let (text, vision) = (flat(text)?, flat(vision)?);
    let words = text.dim(0)? / batch.examples.len();
    let (gold, counts) = items(batch, words, padding);
    let on_device = |values: Vec<u32>| Tensor::new(values, text.device());
    Ok(modulation::sums(&text, &vision, &on_device(gold)?, &on_device(counts)?, Some(allowed))?)
}

/// Gold labels of a batch's items, `words` a row, and 1 for those that ρ counts: known labels, and with `padding` also
/// padded words, as label 0.
fn items(batch: &Batch, words: usize, padding: bool) -> (Vec<u32>, Vec<u32>) {
    let item = |label: Option<&u32>| match label {
        Some(&UNKNOWN) => (0, 0),
        Some(label) => (*label, 1),
        None => (0, u32::from(padding)),
    };
    batch.examples.iter().flat_map(|row| (0..words).map(move |word| item(row.gold.get(word)))).unzip()
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

/// The stream a variable belongs to; none for the head and the shared keys. A head's feature layer (`dense`, `norm`) reads
/// the text alone and belongs to its stream.
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
            let rows = self.memory.with_newest(session);
            self.phase("memory", (config.memory_epochs, &all(&rows)), None, seen, session)?;
        }
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
