//! The relation head's side of a [`super::Learner`]: cross-entropy and argmax over the allowed relations.

use candle_core::{DType, Tensor};
use mkgc_models::heads::relation::RelationHead;
use mkgc_models::loss::masked_cross_entropy;
use mkgc_models::mode::Mode;

use super::{ClassFeatures, Prediction};
use crate::data::Batch;
use crate::error::Result;

fn features(head: &RelationHead, hidden: &Tensor, batch: &Batch, mode: &mut Mode) -> Result<Tensor> {
    let position = |column| batch.anchors.narrow(1, column, 1)?.squeeze(1)?.contiguous();
    Ok(head.features(hidden, &position(0)?, &position(1)?, mode)?)
}

pub(super) fn loss(
    head: &RelationHead,
    hidden: &Tensor,
    batch: &Batch,
    allowed: &[bool],
    mode: &mut Mode,
) -> Result<Tensor> {
    let logits = head.logits(&features(head, hidden, batch, mode)?)?;
    let gold: Vec<u32> = batch.examples.iter().map(|example| example.gold[0]).collect();
    let gold = Tensor::new(gold, logits.device())?;
    Ok(masked_cross_entropy(&logits, &gold, Some(allowed))?)
}

pub(super) fn predict(
    head: &RelationHead,
    hidden: &Tensor,
    batch: &Batch,
    allowed: &[bool],
) -> Result<Vec<Prediction>> {
    let logits = head.logits(&features(head, hidden, batch, &mut Mode::Eval)?)?;
    let rows = logits.to_dtype(DType::F32)?.to_vec2::<f32>()?;
    Ok(rows.into_iter().map(|row| best(row, allowed)).collect())
}

fn best(mut scores: Vec<f32>, allowed: &[bool]) -> Prediction {
    for (score, allowed) in scores.iter_mut().zip(allowed) {
        if !allowed {
            *score = f32::NEG_INFINITY;
        }
    }
    let label = (0..scores.len()).fold(0, |best, label| if scores[label] > scores[best] { label } else { best });
    Prediction { labels: vec![label as u32], scores }
}

pub(super) fn class_features(
    head: &RelationHead,
    hidden: &Tensor,
    batch: &Batch,
    class_of: &dyn Fn(u32) -> Option<usize>,
) -> Result<Vec<ClassFeatures>> {
    let rows = features(head, hidden, batch, &mut Mode::Eval)?.to_dtype(DType::F32)?.to_vec2::<f32>()?;
    let class = |example: &crate::data::Example| class_of(example.gold[0]);
    let paired = batch.examples.iter().zip(rows);
    Ok(paired.map(|(example, row)| class(example).map(|class| (class, row)).into_iter().collect()).collect())
}
