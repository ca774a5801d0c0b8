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
//! | stored rows are chosen by influence functions, or at random (`--do_random`) | at random ⁸ | at random |
//! | the teacher keeps its dropout | mended | mended |
//! | the best test score of all epochs is reported | the last epoch's | the last epoch's |
//!
//! ¹ Their texts are padded to one length, batches here to their longest row. No gradient depends on it. ² Positions of both
//! kinds of crops are one variable here and get noise of one size. ³ Such a word reads position 0. ⁴ It changes ρ by a
//! few percent. ⁵ By default labels seen so far compete, as in every other method here: with all, each task pushes down
//! the labels of the tasks to come. ⁶ As every NER method here, so that spans are scored alike. ⁷ One row of 12,233 got a
//! crop of its own picture. ⁸ The paper names no rule; influence functions ask for gradients of every row, and no published
//! figure says what they bring.
//!
//! `replay_o = "mask"`, the default of `lmc`, is this project's and in neither paper nor code: a stored sentence was
//! annotated before newer types existed, so its `O` counts as unknown. `lmc-released` keeps `O` (`"keep"`), as they do.
//! Which rows of a task are stored is in [`super::shared::memory`].

mod balanced;
mod teacher;

use mkgc_builder::corpus::Extraction;
use mkgc_models::losses::distillation::Pooling;
use mkgc_models::networks::Key;
use mkgc_models::optim::AdamW;

use super::method::{Method, Session};
use super::shared::memory::Memory;
use super::shared::training::{CURRENT, Passes, Step, Trainer, all};
use super::spec::{Keeps, MethodSpec};
use crate::config::settings::{STORED_ROWS, TRAINING};
use crate::config::{Config, ReplayO, Selection};
use crate::data::{Task, VisibleLabels};
use crate::error::Result;
use crate::learner::{Architecture, Learner};
use crate::run::checkpoint::State;
pub(crate) use balanced::Balanced;
pub use teacher::Teacher;

/// `lmc`: LMC as its paper describes it (Chen et al. 2023, arXiv 2305.08698), not as the authors' code computes it.
pub const LMC: MethodSpec = MethodSpec {
    about: "shared attention keys, distilled attention maps, balanced gradients, replay; as its paper describes it",
    source: "Chen et al. 2023 (arXiv 2305.08698)",
    architecture: Architecture::Dual,
    keeps: Keeps::RowsPerClass,
    defaults,
    defaults_source: "Chen et al. 2023 (arXiv 2305.08698) and zjunlp/ContinueMKGC",
    settings: &[
        TRAINING,
        STORED_ROWS,
        &["memory_epochs", "replay_o", "optimiser_per_task"],
        &["shared_layers", "key", "lr_key", "lr_bias", "pooling", "lambda", "alpha", "noise"],
    ],
    later_settings: &["memory_epochs", "replay_o", "pooling", "lambda"],
    ..MethodSpec::new("lmc", |session| Ok(Box::new(Lmc::new(session)?)))
};

/// `lmc-released`: the arithmetic of the authors' code.
pub const LMC_RELEASED: MethodSpec = MethodSpec {
    name: "lmc-released",
    about: "the arithmetic of LMC's released code, whose keys cancel and whose distillation has no gradient",
    source: "zjunlp/ContinueMKGC",
    defaults: |shared, kind| Config {
        key: Key::Released,
        pooling: Pooling::Width,
        replay_o: ReplayO::Keep,
        ..defaults(shared, kind)
    },
    ..LMC
};

/// `lmc-replay`: the network and the replay, everything else off.
pub const LMC_REPLAY: MethodSpec = MethodSpec {
    name: "lmc-replay",
    about: "lmc's network and replay, with shared keys, distillation and modulation off",
    source: "Chen et al. 2023 (arXiv 2305.08698), ablated",
    defaults: |shared, kind| Config {
        shared_layers: 0,
        key: Key::Own,
        lambda: 0.0,
        alpha: 0.0,
        noise: false,
        ..defaults(shared, kind)
    },
    ..LMC
};

/// Returns LMC's settings: batch 2, AdamW without clipping, 6 rows per class drawn at random, and rates by what is
/// extracted.
fn defaults(shared: Config, kind: Extraction) -> Config {
    let shared = Config {
        batch_size: 2,
        weight_decay: 1e-2,
        optimiser_per_task: false,
        clip_norm: 0.0,
        memory_per_class: 6,
        selection: Selection::Random,
        shared_layers: 3,
        key: Key::Matrix,
        noise: true,
        ..shared
    };
    match kind {
        Extraction::Relations => Config {
            lr_encoder: 1e-5,
            lr_head: 1e-5,
            lr_key: 1e-6,
            lr_bias: 1e-5,
            head_dropout: 0.0,
            max_length: 80,
            lambda: 1.0,
            alpha: 0.1,
            ..shared
        },
        Extraction::Entities => Config {
            lr_encoder: 3e-5,
            lr_head: 5e-2,
            lr_key: 3e-6,
            lr_bias: 3e-5,
            head_dropout: 0.1,
            max_length: 128,
            lambda: 0.1,
            alpha: 0.3,
            ..shared
        },
    }
}

/// The network, its optimiser for the whole run, and the replay buffer.
pub struct Lmc {
    learner: Learner,
    optimiser: AdamW,
    memory: Memory,
}

impl Lmc {
    /// Makes a network, its optimiser and an empty replay buffer.
    pub fn new(session: &mut Session<'_>) -> Result<Self> {
        let learner = session.learner(0)?;
        let optimiser = session.optimiser(&learner)?;
        Ok(Self { learner, optimiser, memory: Memory::default() })
    }

    /// Trains a phase of the task, with a teacher or without.
    fn phase(
        &mut self,
        name: &str,
        passes: Passes<'_, '_>,
        teacher: Option<&Teacher>,
        seen: &VisibleLabels,
        session: &mut Session<'_>,
    ) -> Result<()> {
        let mut objective = Balanced::new(session.config, teacher, seen.task, name);
        let mut trainer = Trainer::new(&self.learner, &mut self.optimiser, seen, session, name);
        trainer.epochs(session, passes, &mut objective, |rows| vec![Step { phase: name, rows }])
    }
}

impl Method for Lmc {
    fn learn(&mut self, task: &Task, session: &mut Session<'_>) -> Result<()> {
        let config = session.config;
        let seen = &task.seen;
        if config.optimiser_per_task && seen.task > 0 {
            self.optimiser = session.optimiser(&self.learner)?;
        }
        let teacher = if seen.task > 0 && config.lambda > 0.0 {
            session.trace.event("teacher");
            Teacher::new(&self.learner, &task.train, config)?
        } else {
            None
        };
        let passes = Passes { epochs: config.epochs, rows: &all(&task.train) };
        self.phase(CURRENT, passes, teacher.as_ref(), seen, session)?;
        self.memory.push(session.select(&self.learner, task)?);
        if seen.task > 0 {
            let rows = self.memory.with_newest(session.masks_outside());
            let passes = Passes { epochs: config.memory_epochs, rows: &all(&rows) };
            self.phase("memory", passes, None, seen, session)?;
        }
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

    fn state(&self) -> Result<State> {
        Ok(self.learner.state()?.with("optimiser", self.optimiser.state()?))
    }

    fn restore(&mut self, state: &mut State) -> Result<()> {
        self.learner.restore(state)?;
        Ok(self.optimiser.load_state(&state.take("optimiser"))?)
    }
}
