//! SEQ* (Zheng et al. 2024, "Learn or Recall? Revisiting Incremental Learning with Pre-trained Language Models", ACL;
//! `SEQ_pre_warm_fix` of its code): fine-tuning that forgets little because little moves. No row is stored.
//!
//! 1. *Warm up*: on the first task everything learns.
//! 2. *Freeze the encoder* from then on: all variables but the classifier (RE its rows, NER emission rows and CRF). The
//!    feature layer of the relation head (`head.dense`, `head.norm`) counts as encoder, because old rows read it.
//! 3. *Freeze old classes*: what belongs to labels of earlier tasks alone stays as it is: their rows, and of the CRF
//!    their start and end scores and the transitions from one old tag to another. Transitions between an old and a new
//!    tag learn, because nothing but the new task says how they join.
//! 4. *Pre-allocate*: the softmax is over all labels of the benchmark (`softmax = "all"`), so rows of labels still to
//!    come are pushed away from what is learned before them; they are not frozen. With `softmax = "seen"`, which the authors
//!    publish as `SEQ_warm_fix`, this step is left out.
//!
//! `None` and `O` recur in every task; as in the authors' code they belong to the first task's labels and are frozen with
//! them: new classes are told apart from a fixed `None`, and a task cannot pull it over the classes before.
//!
//! Labels are scored by the cosine of feature and classifier row, without bias or temperature, as the authors do where
//! there is no replay: rows of different tasks then differ in direction and not in length. With many labels still to come,
//! steps 1 and 4 together can make the features of all classes one: no cosine exceeds 1, so the loss falls fastest where
//! features turn away from all unused rows at once.
//!
//! Frozen values do not change by a bit: frozen variables get no gradient, which AdamW takes as a reason to leave them
//! alone, and frozen rows are put back after each step, so that neither weight decay nor moments move them.
//!
//! Different here: features are the marker states of the other text methods, not `[CLS]`; a CRF over words, not a softmax
//! per word; after 3 passes of warm-up, the authors train the classifier of each task alone for 10 more (5 in their scripts),
//! that of the first task, too. Here the first task has the warm-up alone, and both are `epochs`.

use candle_core::backprop::GradStore;
use candle_core::{D, DType, Tensor, Var};
use mkgc_builder::corpus::Extraction;
use mkgc_models::mode::Mode;

use super::method::{Method, Session};
use super::shared::prototypes::normalised;
use super::shared::training::{Objective, train_task};
use super::spec::MethodSpec;
use crate::config::{Config, Softmax};
use crate::data::{Batch, Task};
use crate::error::{Error, Result};
use crate::learner::Learner;

/// `seq-star`. Its settings are three epochs of warm-up, batch 4, rates 1e-5 and 1e-3, decay 5e-4 of the encoder and no
/// clipping: the configuration files and the defaults of the authors' code.
pub const SEQ_STAR: MethodSpec = MethodSpec {
    about: "freezes the encoder after the first task and each class's weights after its own",
    source: "Zheng et al. 2024 (SEQ*)",
    defaults: |shared, _| Config {
        epochs: 3,
        batch_size: 4,
        weight_decay: 5e-4,
        clip_norm: 0.0,
        softmax: Softmax::All,
        ..shared
    },
    defaults_source: "zzz47zzz/codebase-for-incremental-learning-with-llm",
    reopen: |mut saved| Ok(Box::new(SeqStar { learner: saved.network()? })),
    ..MethodSpec::new("seq-star", |session| Ok(Box::new(SeqStar::new(session)?)))
};

/// Trains heads on a network whose encoder is frozen after the first task.
pub struct SeqStar {
    learner: Learner,
}

impl SeqStar {
    /// Makes the network with initial weights.
    pub fn new(session: &mut Session<'_>) -> Result<Self> {
        Ok(Self { learner: session.learner(0)? })
    }
}

/// Computes the cosines of features, relations `[B, F]`, entities `[B, W, F]`, with the row of each label; shapes as
/// [`Learner::scores`].
fn cosines(learner: &Learner, features: &Tensor) -> Result<Tensor> {
    let name = if learner.kind() == Extraction::Relations { "head.classifier.weight" } else { "head.emission.weight" };
    let rows = learner.params().vars().into_iter().find_map(|(known, var)| (known == name).then_some(var));
    let rows = rows.ok_or_else(|| Error::Usage(format!("SEQ* needs a head with `{name}`")))?;
    let mut shape = features.dims().to_vec();
    let size = shape.pop().unwrap_or_default();
    shape.push(rows.dim(0)?);
    let flat = normalised(&features.reshape(((), size))?.to_dtype(DType::F32)?)?;
    Ok(flat.matmul(&normalised(rows.as_tensor())?.t()?)?.reshape(shape)?)
}

/// The task's loss of cosines, with nothing frozen in the first task.
struct Cosines {
    frozen: Option<Vec<Part>>,
}

/// A variable of the classifier, a part of which is frozen.
struct Part {
    var: Var,
    /// 1 where it may move, u8.
    free: Tensor,
    /// The values before the task.
    before: Tensor,
}

impl Part {
    /// Returns the variables of a classifier with what is frozen of them: all that belongs to `old` labels alone.
    fn beside(learner: &Learner, old: &[bool]) -> Result<Vec<Self>> {
        let is_classifier = |name: &str| {
            ["head.classifier.", "head.emission.", "head.crf."].iter().any(|prefix| name.starts_with(prefix))
        };
        let part = |(name, var): (String, Var)| {
            let free = free(&name, &var, old)?;
            Ok(Self { before: var.as_tensor().copy()?, free, var })
        };
        learner.params().vars().into_iter().filter(|(name, _)| is_classifier(name)).map(part).collect()
    }
}

/// Returns 1 where a variable of the classifier may move, u8, in its shape: its first dimension is the label, and of
/// the transitions the second is one as well.
fn free(name: &str, var: &Var, old: &[bool]) -> Result<Tensor> {
    let new = Tensor::new(old.iter().map(|old| u8::from(!old)).collect::<Vec<_>>(), var.device())?;
    if name.ends_with(".transitions") {
        return Ok(new.unsqueeze(1)?.broadcast_maximum(&new.unsqueeze(0)?)?);
    }
    let rows = if var.rank() == 1 { new } else { new.unsqueeze(D::Minus1)? };
    Ok(rows.broadcast_as(var.shape())?.contiguous()?)
}

impl Objective for Cosines {
    fn loss(&mut self, learner: &Learner, batch: &Batch, allowed: &[bool], mode: &mut Mode<'_>) -> Result<Tensor> {
        let features = learner.forward(batch, mode)?.features;
        let features = if self.frozen.is_some() { features.detach() } else { features };
        learner.task_loss(&cosines(learner, &features)?, batch, allowed)
    }

    /// Removes the gradients of frozen rows, so that they do not count in the norm that is clipped.
    fn adjust(&mut self, _: &Learner, grads: &mut GradStore) -> Result<()> {
        for part in self.frozen.iter().flatten() {
            if let Some(grad) = grads.remove(part.var.as_tensor()) {
                let grad = part.free.where_cond(&grad, &grad.zeros_like()?)?;
                grads.insert(part.var.as_tensor(), grad);
            }
        }
        Ok(())
    }

    fn settle(&mut self) -> Result<()> {
        for Part { var, free, before } in self.frozen.iter().flatten() {
            var.set(&free.where_cond(var.as_tensor(), before)?)?;
        }
        Ok(())
    }
}

impl Method for SeqStar {
    fn learn(&mut self, task: &Task, session: &mut Session<'_>) -> Result<()> {
        let mut objective = Cosines { frozen: None };
        if let Some(before) = task.seen.task.checked_sub(1) {
            session.trace.event("freeze");
            objective.frozen = Some(Part::beside(&self.learner, &session.benchmark.seen(before).allowed)?);
        }
        train_task(&self.learner, task, session, &mut objective)
    }

    fn scores(&self, features: &Tensor) -> Result<Tensor> {
        cosines(&self.learner, features)
    }

    fn resumes_inside(&self) -> bool {
        true
    }

    fn learner(&self) -> Option<&Learner> {
        Some(&self.learner)
    }
}
