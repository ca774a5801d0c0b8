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
//! - The reported score is the best on the test file over all epochs. Not taken over: the last epoch counts.
//! - Crops are shown where the benchmark has some, as there (`visual = "auto"`); where it has none, the whole image.

use super::phases::{CURRENT, TaskLoss, all, fit};
use super::{Method, Session};
use crate::data::Task;
use crate::error::Result;
use crate::learner::Learner;

/// One network, trained on.
pub struct Vanilla {
    learner: Learner,
}

impl Vanilla {
    /// A fresh network.
    pub fn new(session: &mut Session<'_>) -> Result<Self> {
        Ok(Self { learner: session.learner(0)? })
    }
}

impl Method for Vanilla {
    fn learn(&mut self, task: &Task, session: &mut Session<'_>) -> Result<()> {
        let rows = (session.config.epochs, &*all(&task.train));
        fit(&self.learner, &task.seen, session, CURRENT, rows, &mut TaskLoss)
    }

    fn learner(&self) -> Option<&Learner> {
        Some(&self.learner)
    }
}
