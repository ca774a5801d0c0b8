//! Word scores to loss and prediction: CRF likelihood and Viterbi over the allowed tags.
//!
//! Words with [`UNKNOWN`] tags are summed over: the loss is `log Z(all paths) - log Z(paths that agree with the known
//! tags)` (Tsuboi et al. 2008, "Training conditional random fields using incomplete annotations"), which is the usual
//! negative log-likelihood when every tag is known.

use candle_core::{DType, Tensor};
use mkgc_models::crf::Crf;

use super::Prediction;
use crate::data::{Batch, UNKNOWN};
use crate::error::Result;

/// Added to the emission of a tag that may not be used: finite, so that no gradient becomes NaN.
const FORBIDDEN: f32 = -1e4;

fn masked(emissions: &Tensor, allowed: &[bool]) -> Result<Tensor> {
    let bias: Vec<f32> = allowed.iter().map(|allowed| if *allowed { 0.0 } else { FORBIDDEN }).collect();
    Ok(emissions.to_dtype(DType::F32)?.broadcast_add(&Tensor::new(bias, emissions.device())?)?)
}

pub(super) fn loss(crf: &Crf, emissions: &Tensor, batch: &Batch, allowed: &[bool]) -> Result<Tensor> {
    let emissions = masked(emissions, allowed)?;
    let unknown = batch.examples.iter().any(|example| example.gold.contains(&UNKNOWN));
    let nll = if unknown {
        let agreeing = (&emissions + known_tags(&emissions, batch)?)?;
        let all = crf.log_partition(&emissions, &batch.anchor_mask)?;
        (all - crf.log_partition(&agreeing, &batch.anchor_mask)?)?
    } else {
        crf.nll(&emissions, &gold(&emissions, batch)?, &batch.anchor_mask)?
    };
    Ok(nll.mean_all()?)
}

/// Gold tags `[B, W]`, u32, 0 where padded.
fn gold(emissions: &Tensor, batch: &Batch) -> Result<Tensor> {
    let (rows, words, _) = emissions.dims3()?;
    let pad = |gold: &[u32]| gold.iter().copied().chain(std::iter::repeat(0)).take(words).collect::<Vec<_>>();
    let tags: Vec<u32> = batch.examples.iter().flat_map(|example| pad(&example.gold)).collect();
    Ok(Tensor::from_vec(tags, (rows, words), emissions.device())?)
}

/// 0 for tags that agree with the gold ones, [`FORBIDDEN`] for those that do not, `[B, W, L]`.
fn known_tags(emissions: &Tensor, batch: &Batch) -> Result<Tensor> {
    let (rows, words, labels) = emissions.dims3()?;
    let mut bias = vec![0.0f32; rows * words * labels];
    for (row, example) in batch.examples.iter().enumerate() {
        for (word, tag) in example.gold.iter().enumerate().filter(|(_, tag)| **tag != UNKNOWN) {
            let start = (row * words + word) * labels;
            bias[start..start + labels].fill(FORBIDDEN);
            bias[start + *tag as usize] = 0.0;
        }
    }
    Ok(Tensor::from_vec(bias, (rows, words, labels), emissions.device())?)
}

pub(super) fn predict(crf: &Crf, emissions: &Tensor, batch: &Batch, allowed: &[bool]) -> Result<Vec<Prediction>> {
    let paths = crf.decode(&masked(emissions, allowed)?, &batch.anchor_mask)?;
    let prediction =
        |path: Vec<usize>| Prediction { labels: path.iter().map(|tag| *tag as u32).collect(), scores: vec![] };
    Ok(paths.into_iter().map(prediction).collect())
}
