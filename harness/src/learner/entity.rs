//! Word scores to loss and prediction: CRF likelihood and Viterbi over the allowed tags.
//!
//! Words with [`crate::data::UNKNOWN`] tags are summed over: the loss is `log Z(all paths) - log Z(paths that agree with
//! the known tags)` (Tsuboi et al. 2008, "Training conditional random fields using incomplete annotations"), which is the
//! usual negative log-likelihood when every tag is known.

use candle_core::{DType, Tensor};
use mkgc_models::heads::Crf;

use super::Prediction;
use crate::data::Batch;
use crate::error::Result;

/// Added to the emission of a tag that may not be used: finite, so that no gradient becomes NaN.
const FORBIDDEN: f32 = -1e4;

fn masked(emissions: &Tensor, allowed: &[bool]) -> Result<Tensor> {
    let bias: Vec<f32> = allowed.iter().map(|allowed| if *allowed { 0.0 } else { FORBIDDEN }).collect();
    Ok(emissions.to_dtype(DType::F32)?.broadcast_add(&Tensor::new(bias, emissions.device())?)?)
}

pub(super) fn loss(crf: &Crf, emissions: &Tensor, batch: &Batch, allowed: &[bool]) -> Result<Tensor> {
    let tags: Vec<&[u32]> = batch.examples.iter().map(|example| example.gold.as_slice()).collect();
    Ok(crf.nll(&masked(emissions, allowed)?, &tags)?.mean_all()?)
}

pub(super) fn predict(crf: &Crf, emissions: &Tensor, batch: &Batch, allowed: &[bool]) -> Result<Vec<Prediction>> {
    let lengths: Vec<usize> = batch.examples.iter().map(|example| example.anchors.len()).collect();
    let paths = crf.decode(&masked(emissions, allowed)?, &lengths)?;
    Ok(paths.into_iter().map(|labels| Prediction { labels, scores: vec![] }).collect())
}
