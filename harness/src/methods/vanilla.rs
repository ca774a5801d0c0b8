//! Vanilla: sequential fine-tuning on each task's own rows; the floor every method is compared with. On the dual-stream
//! network it is `concat` (late fusion of BERT and a vision transformer), on MKGformer's network `mkgformer`.
//!
//! `mkgformer` has the rates, weight decay and schedule of its authors' code (zjunlp/MKGformer), where a task stands for
//! their whole training: for relations 1e-5 and a warm-up of 6 %, for entities 3e-5, 5e-2 for emissions and CRF, and a
//! warm-up of 1 %. Forward pass, gradients and steps are checked against tensors of that code (`authors_mkgformer_…`);
//! [`mkgc_models::networks::Mkgformer`] lists what its network does. What its training does:
//! - For relations, the optimiser holds the parameters with `model` in their name, which the classifier does not have: it
//!   stays as it was initialised. Mended, it is trained at the encoder's rate; a frozen random classifier would make every
//!   new class fit the encoder to it, and the paper mentions none.
//! - For entities, the rate of emissions and CRF is 5e-2 whatever the option says. Kept, as the default of `lr_head`.
//! - The warm-up begins at rate 0, so the first step moves nothing. Kept: transformers' schedule does so. A phase of one
//!   step with a warm-up therefore learns nothing; `warmup = 0` helps.
//! - Entities: the CRF runs over word pieces with helper labels (`X`, `[CLS]`, `[SEP]`, `PAD`). Not taken over: here it
//!   runs over words, as in all other methods, so that scores are of the same items.
//! - For relations, batches have 32 rows and there are 12 epochs; for entities, there are 30 epochs. Not taken over: 16 rows and 10
//!   epochs, which all methods have by default here.
//! - The reported score is the best on the test file over all epochs. Not taken over: the last epoch counts.
//! - Crops are shown where the benchmark has some, as there (`visual = "auto"`); where it has none, the whole image.

use mkgc_builder::corpus::Extraction;

use super::method::{Method, Session};
use super::shared::training::{TaskLoss, train_task};
use super::spec::MethodSpec;
use crate::config::{Config, Schedule};
use crate::data::Task;
use crate::error::Result;
use crate::learner::{Architecture, Learner};

/// `vanilla`: sequential fine-tuning of BERT alone on each task's own rows, the floor of all methods.
pub const VANILLA: MethodSpec = MethodSpec {
    about: "fine-tunes on each task's rows alone; the floor",
    ..MethodSpec::new("vanilla", |session| Ok(Box::new(Vanilla::new(session)?)))
};

/// `concat`: on the network with two streams side by side.
pub const CONCAT: MethodSpec = MethodSpec {
    name: "concat",
    about: "fine-tunes BERT and a vision transformer joined in the head; no continual-learning device",
    source: "late fusion",
    architecture: Architecture::Dual,
    defaults: |shared, _| Config { head_dropout: 0.0, ..shared },
    defaults_source: "this project",
    ..VANILLA
};

/// `mkgformer`: sequential fine-tuning of MKGformer (Chen et al. 2022), with the settings of its authors' code.
pub const MKGFORMER: MethodSpec = MethodSpec {
    name: "mkgformer",
    about: "fine-tunes a network whose streams read each other; no continual-learning device",
    source: "Chen et al. 2022",
    architecture: Architecture::Mkgformer,
    defaults: mkgformer_defaults,
    defaults_source: "zjunlp/MKGformer",
    ..VANILLA
};

/// Returns the settings of the authors' code: linear schedule, weight decay, no clipping, and rates by what is extracted.
fn mkgformer_defaults(shared: Config, kind: Extraction) -> Config {
    let shared = Config { schedule: Schedule::Linear, weight_decay: 1e-2, clip_norm: 0.0, ..shared };
    match kind {
        Extraction::Relations => Config { lr_encoder: 1e-5, lr_head: 1e-5, warmup: 0.06, head_dropout: 0.0, ..shared },
        Extraction::Entities => Config { lr_encoder: 3e-5, lr_head: 5e-2, warmup: 0.01, head_dropout: 0.1, ..shared },
    }
}

/// Trains one network on each task in turn.
pub struct Vanilla {
    learner: Learner,
}

impl Vanilla {
    /// Makes the network with initial weights.
    pub fn new(session: &mut Session<'_>) -> Result<Self> {
        Ok(Self { learner: session.learner(0)? })
    }
}

impl Method for Vanilla {
    fn learn(&mut self, task: &Task, session: &mut Session<'_>) -> Result<()> {
        train_task(&self.learner, task, session, &mut TaskLoss)
    }

    fn resumes_inside(&self) -> bool {
        true
    }

    fn learner(&self) -> Option<&Learner> {
        Some(&self.learner)
    }
}
