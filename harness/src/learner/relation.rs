//! Relation scores to loss and prediction: cross-entropy and argmax over the allowed relations.

use candle_core::{DType, Tensor};
use mkgc_models::losses::masked_cross_entropy;

use super::Prediction;
use crate::data::Batch;
use crate::error::Result;

pub(super) fn loss(logits: &Tensor, batch: &Batch, allowed: &[bool]) -> Result<Tensor> {
    let gold: Vec<u32> = batch.examples.iter().map(|example| example.gold[0]).collect();
    Ok(masked_cross_entropy(logits, &Tensor::new(gold, logits.device())?, Some(allowed))?)
}

pub(super) fn predict(logits: &Tensor, allowed: &[bool]) -> Result<Vec<Prediction>> {
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
