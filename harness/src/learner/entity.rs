//! The entity head's side of a [`super::Learner`]: CRF likelihood and Viterbi over the allowed tags.
//!
//! Words with [`UNKNOWN`] tags are summed over: the loss is `log Z(all paths) - log Z(paths that agree with the known
//! tags)` (Tsuboi et al. 2008, "Training conditional random fields using incomplete annotations"), which is the usual
//! negative log-likelihood when every tag is known.

use candle_core::{DType, Tensor};
use mkgc_models::heads::entity::EntityHead;
use mkgc_models::mode::Mode;

use super::{ClassFeatures, Prediction};
use crate::data::{Batch, UNKNOWN};
use crate::error::Result;

/// Added to the emission of a tag that may not be used: finite, so that no gradient becomes NaN.
const FORBIDDEN: f32 = -1e4;

fn emissions(head: &EntityHead, hidden: &Tensor, batch: &Batch, allowed: &[bool], mode: &mut Mode) -> Result<Tensor> {
    let features = head.features(hidden, &batch.anchors, mode)?;
    let emissions = head.emissions(&features)?.to_dtype(DType::F32)?;
    let bias: Vec<f32> = allowed.iter().map(|allowed| if *allowed { 0.0 } else { FORBIDDEN }).collect();
    Ok(emissions.broadcast_add(&Tensor::new(bias, hidden.device())?)?)
}

pub(super) fn loss(
    head: &EntityHead,
    hidden: &Tensor,
    batch: &Batch,
    allowed: &[bool],
    mode: &mut Mode,
) -> Result<Tensor> {
    let emissions = emissions(head, hidden, batch, allowed, mode)?;
    let unknown = batch.examples.iter().any(|example| example.gold.contains(&UNKNOWN));
    let nll = if unknown {
        let agreeing = (&emissions + known_tags(&emissions, batch)?)?;
        let all = head.crf().log_partition(&emissions, &batch.anchor_mask)?;
        (all - head.crf().log_partition(&agreeing, &batch.anchor_mask)?)?
    } else {
        head.crf().nll(&emissions, &gold(&emissions, batch)?, &batch.anchor_mask)?
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

pub(super) fn predict(head: &EntityHead, hidden: &Tensor, batch: &Batch, allowed: &[bool]) -> Result<Vec<Prediction>> {
    let emissions = emissions(head, hidden, batch, allowed, &mut Mode::Eval)?;
    let paths = head.crf().decode(&emissions, &batch.anchor_mask)?;
    let prediction =
        |path: Vec<usize>| Prediction { labels: path.iter().map(|tag| *tag as u32).collect(), scores: vec![] };
    Ok(paths.into_iter().map(prediction).collect())
}

pub(super) fn class_features(
    head: &EntityHead,
    hidden: &Tensor,
    batch: &Batch,
    class_of: &dyn Fn(u32) -> Option<usize>,
) -> Result<Vec<ClassFeatures>> {
    let features = head.features(hidden, &batch.anchors, &mut Mode::Eval)?.to_dtype(DType::F32)?.to_vec3::<f32>()?;
    let means = batch.examples.iter().zip(features).map(|(example, words)| {
        let mut classes: Vec<usize> = example.gold.iter().filter_map(|tag| class_of(*tag)).collect();
        classes.sort_unstable();
        classes.dedup();
        let of = |class| words.iter().zip(&example.gold).filter(move |(_, tag)| class_of(**tag) == Some(class));
        classes.into_iter().map(|class| (class, mean(of(class).map(|(word, _)| word)))).collect()
    });
    Ok(means.collect())
}

fn mean<'a>(vectors: impl Iterator<Item = &'a Vec<f32>>) -> Vec<f32> {
    let (mut total, mut count) = (Vec::new(), 0.0f32);
    for vector in vectors {
        total.resize(vector.len(), 0.0);
        total.iter_mut().zip(vector).for_each(|(total, value)| *total += value);
        count += 1.0;
    }
    total.iter_mut().for_each(|value| *value /= count);
    total
}
