//! Word scores to loss, prediction and confidence: CRF likelihood and Viterbi over the allowed tags.
//!
//! Words with [`crate::data::UNKNOWN`] tags are summed over: the loss is `log Z(all paths) - log Z(paths that agree with
//! the known tags)` (Tsuboi et al. 2008, "Training conditional random fields using incomplete annotations"), which is the
//! usual negative log-likelihood when every tag is known.

use std::ops::Range;

use candle_core::{DType, Tensor};
use mkgc_models::heads::Crf;

use super::Prediction;
use crate::data::{Batch, UNKNOWN};
use crate::error::Result;

/// Added to the emission of a tag that may not be used: finite, so that no gradient becomes NaN.
const FORBIDDEN: f32 = -1e4;

fn masked(emissions: &Tensor, allowed: &[bool]) -> Result<Tensor> {
    let bias: Vec<f32> = allowed.iter().map(|allowed| if *allowed { 0.0 } else { FORBIDDEN }).collect();
    Ok(emissions.to_dtype(DType::F32)?.broadcast_add(&Tensor::new(bias, emissions.device())?)?)
}

/// How sure a random field is of the tags of a sentence: probabilities over all paths of allowed tags.
#[derive(Debug, Clone, PartialEq)]
pub struct TagConfidence {
    /// The probability of the whole path.
    pub path: f64,
    /// The probability of each word's tag.
    pub words: Vec<f64>,
    /// The probability that the words of each span have their tags.
    pub spans: Vec<f64>,
}

/// Computes probabilities of `tags` from the emissions `[W, L]` of one sentence. Each is `exp(-nll)` of a copy of the
/// sentence in which the tags of all other words are unknown, so the field sums over them.
pub(super) fn confidence(
    crf: &Crf,
    emissions: &Tensor,
    tags: &[u32],
    spans: &[Range<usize>],
    allowed: &[bool],
) -> Result<TagConfidence> {
    let words = tags.len();
    let known = |span: Range<usize>| -> Vec<u32> {
        (0..words).map(|word| if span.contains(&word) { tags[word] } else { UNKNOWN }).collect()
    };
    let each = (0..words).map(|word| word..word + 1);
    let copies: Vec<Vec<u32>> = std::iter::once(0..words).chain(each).chain(spans.iter().cloned()).map(known).collect();
    let slices: Vec<&[u32]> = copies.iter().map(Vec::as_slice).collect();
    let (_, labels) = emissions.dims2()?;
    let emissions = masked(&emissions.narrow(0, 0, words)?, allowed)?;
    let emissions = emissions.unsqueeze(0)?.broadcast_as((copies.len(), words, labels))?.contiguous()?;
    let nll = crf.nll(&emissions, &slices)?.to_vec1::<f32>()?;
    let mut probabilities = nll.into_iter().map(|nll| f64::from(-nll).exp().min(1.0));
    let path = probabilities.next().unwrap_or(1.0);
    let words = probabilities.by_ref().take(words).collect();
    Ok(TagConfidence { path, words, spans: probabilities.collect() })
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
