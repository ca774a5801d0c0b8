//! The balance ρ of two streams (Peng et al. 2022, OGM-GE): how much score the vision stream gives the gold labels,
//! relative to the text stream.
//!
//! ```text
//! s^u = Σ_items softmax(W^u h^u + b/2)[gold] for the stream u,  ρ^v = s^v / s^t
//! ```

use candle_core::Tensor;
use mkgc_models::losses::modulation;

use crate::data::{Batch, UNKNOWN};
use crate::error::Result;
use crate::learner::{Forward, Learner};

/// Name in the log of ρ of the vision stream.
pub const RHO: &str = "rho";

/// Scores of each stream alone, relations `[B, L]`, entities `[B, W, L]`.
pub(crate) struct StreamScores {
    /// Scores of the text stream.
    pub(crate) text: Tensor,
    /// Scores of the vision stream.
    pub(crate) vision: Tensor,
}

/// Computes ρ of the vision stream from the scores that each stream gives alone, without dropout and detached.
pub(super) fn ratio(learner: &Learner, forward: &Forward, batch: &Batch, allowed: &[bool]) -> Result<f64> {
    let (text, vision) = learner.stream_scores(&forward.undropped.detach())?;
    let sums = sums(&StreamScores { text, vision }, batch, allowed, false)?.to_vec1::<f32>()?;
    Ok(modulation::ratio([sums[0], sums[1]]))
}

/// Computes `[s_text, s_vision]` on the device. With `padding`, padded words count as label 0.
pub(crate) fn sums(scores: &StreamScores, batch: &Batch, allowed: &[bool], padding: bool) -> Result<Tensor> {
    let flat = |scores: &Tensor| scores.detach().reshape(((), allowed.len()));
    let text = flat(&scores.text)?;
    let vision = flat(&scores.vision)?;
    let words = text.dim(0)? / batch.examples.len();
    let (gold, counts) = items(batch, words, padding);
    let on_device = |values: Vec<u32>| Tensor::new(values, text.device());
    Ok(modulation::sums(&text, &vision, &on_device(gold)?, &on_device(counts)?, Some(allowed))?)
}

/// Returns the gold labels of a batch's items, `words` a row, and 1 for each item that ρ counts: those with a known label
/// and, with `padding`, padded words as label 0.
fn items(batch: &Batch, words: usize, padding: bool) -> (Vec<u32>, Vec<u32>) {
    let item = |label: Option<&u32>| match label {
        Some(&UNKNOWN) => (0, 0),
        Some(label) => (*label, 1),
        None => (0, u32::from(padding)),
    };
    batch.examples.iter().flat_map(|row| (0..words).map(move |word| item(row.gold.get(word)))).unzip()
}
