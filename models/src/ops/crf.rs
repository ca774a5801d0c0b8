//! Negative log-likelihood of a linear-chain conditional random field as one operation.
//!
//! For a row of n words with emissions e, and scores of starting s, of ending f and of moving from tag i to tag j T(i, j):
//!
//! ```text
//! a_1 = s + e_1,  r_t(j) = log Σ_i exp(a_{t-1}(i) + T(i, j)),  a_t(j) = e_t(j) + r_t(j) - m_{t-1},  m_t = max_j a_t(j)
//! log Z = Σ_{t<n} m_t + log Σ_j exp(a_n(j) + f(j))
//! p_n(j) = exp(a_n(j) + f(j)) / Σ,  p_t(i, j) = p_t(j) exp(a_{t-1}(i) + T(i, j) - r_t(j)),  p_{t-1}(i) = Σ_j p_t(i, j)
//! ```
//!
//! The probabilities p of tags and of pairs of tags are the gradients of log Z with respect to emissions and transitions.
//! nll = log Z over all paths - log Z over the paths that agree with the known tags (Tsuboi et al. 2008); if every tag is
//! known, the latter is the score of one path, and its probabilities are 0 and 1. Forward pass and gradients are one
//! computation, a row at a time; the backward pass only scales.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use candle_core::{CpuStorage, CustomOp2, Device, Layout, Result, Shape, Tensor, bail};
use macro_rules_attribute::apply;

use super::maths::{exp, ln, max, sum};
use super::{Host, fused, leaves, run, values};
use crate::simd::vectorised;

/// The tag of a word whose tag is not known.
pub const UNKNOWN: u32 = u32::MAX;

/// Added in the composition to the emissions of tags that disagree with the known one.
const DISAGREEING: f64 = -1e9;

/// The scores of a chain over `L` tags.
#[derive(Debug, Clone)]
pub struct Chain {
    /// Of starting with a tag, `[L]`.
    pub start: Tensor,
    /// Of ending with a tag, `[L]`.
    pub end: Tensor,
    /// Of moving from a tag to a tag, `[L, L]`.
    pub transitions: Tensor,
}

impl Chain {
    /// Rows, words and tags of a batch.
    ///
    /// # Errors
    /// Emissions that do not fit the chain, or rows that do not fit the emissions.
    pub(super) fn fit(&self, emissions: &Tensor, lengths: &[usize]) -> Result<(usize, usize, usize)> {
        let (rows, words, labels) = emissions.dims3()?;
        let lines = [&self.start, &self.end].into_iter().all(|scores| scores.dims() == [labels]);
        if !lines || self.transitions.dims() != [labels, labels] || words * labels == 0 {
            bail!("emissions {:?} do not fit transitions {:?}", emissions.shape(), self.transitions.shape());
        }
        if lengths.len() != rows || lengths.iter().any(|length| *length > words) {
            bail!("emissions {:?} do not fit rows of {lengths:?} words", emissions.shape());
        }
        Ok((rows, words, labels))
    }
}

/// Negative log-likelihood `[B]` of `tags`, a slice per row, under `emissions` `[B, W, L]`. Words with the tag
/// [`UNKNOWN`] are summed over; a row without words has 0.
///
/// # Errors
/// Shapes that do not fit, a row longer than `W`, a tag outside `L`.
pub fn crf_nll(emissions: &Tensor, chain: &Chain, tags: &[&[u32]]) -> Result<Tensor> {
    let lengths: Vec<usize> = tags.iter().map(|tags| tags.len()).collect();
    let (_, words, labels) = chain.fit(emissions, &lengths)?;
    if let Some(tag) = tags.iter().copied().flatten().find(|tag| **tag as usize >= labels && **tag != UNKNOWN) {
        bail!("tag {tag}, but the chain has {labels} tags");
    }
    if !served(emissions) || ![&chain.start, &chain.end].into_iter().all(leaves::is_leaf) {
        return composed(emissions, chain, tags);
    }
    let padded = |tags: &&[u32]| {
        let row = std::iter::once(tags.len() as u32).chain(tags.iter().copied());
        row.chain(std::iter::repeat(UNKNOWN)).take(1 + words).collect::<Vec<_>>()
    };
    let (tags, slopes) = (tags.iter().flat_map(padded).collect(), Mutex::new(None));
    let likelihood = Likelihood { chain: chain.clone(), tags, slopes };
    emissions.contiguous()?.apply_op2(&chain.transitions.contiguous()?, likelihood)
}

/// Whether fused code or kernels take such emissions.
fn served(emissions: &Tensor) -> bool {
    #[cfg(feature = "cuda")]
    if super::cuda::takes(emissions) {
        return emissions.dtype() == candle_core::DType::F32;
    }
    fused(emissions)
}

/// [`crf_nll`] of candle's operations.
fn composed(emissions: &Tensor, chain: &Chain, tags: &[&[u32]]) -> Result<Tensor> {
    let (rows, words, labels) = emissions.dims3()?;
    let (mut real, mut bias) = (vec![0u8; rows * words], vec![0.0; rows * words * labels]);
    for (row, tags) in tags.iter().enumerate() {
        for (place, tag) in (row * words..).zip(*tags) {
            real[place] = 1;
            if *tag != UNKNOWN {
                bias[place * labels..][..labels].fill(DISAGREEING);
                bias[place * labels + *tag as usize] = 0.0;
            }
        }
    }
    let real = Tensor::from_vec(real, (rows, words), emissions.device())?;
    let bias = Tensor::from_vec(bias, emissions.shape(), emissions.device())?.to_dtype(emissions.dtype())?;
    let partition = |emissions: &Tensor| -> Result<Tensor> {
        let transitions = chain.transitions.unsqueeze(0)?;
        let mut alpha = emissions.narrow(1, 0, 1)?.squeeze(1)?.broadcast_add(&chain.start)?;
        for word in 1..words {
            let emission = emissions.narrow(1, word, 1)?;
            let next = alpha.unsqueeze(2)?.broadcast_add(&transitions)?.broadcast_add(&emission)?.log_sum_exp(1)?;
            alpha = real.narrow(1, word, 1)?.broadcast_as(alpha.shape())?.where_cond(&next, &alpha)?;
        }
        alpha.broadcast_add(&chain.end)?.log_sum_exp(1)
    };
    partition(emissions)? - partition(&(emissions + bias)?)?
}

struct Likelihood {
    chain: Chain,
    /// A row's length and then its tags, filled up to `1 + W` values, for each row.
    tags: Vec<u32>,
    /// ∂nll of each row: `[B, W, L]` with respect to its emissions; `[B, (L + 2) L]` to `start`, `end` and `transitions`,
    /// one after another.
    slopes: Mutex<Option<[Tensor; 2]>>,
}

impl Likelihood {
    fn keep(&self, slopes: [Tensor; 2]) {
        *self.slopes.lock().unwrap_or_else(PoisonError::into_inner) = Some(slopes);
    }
}

impl CustomOp2 for Likelihood {
    fn name(&self) -> &'static str {
        "CRF likelihood"
    }

    fn cpu_fwd(&self, e: &CpuStorage, le: &Layout, t: &CpuStorage, lt: &Layout) -> Result<(CpuStorage, Shape)> {
        let (rows, words, labels) = le.shape().dims3()?;
        let (start, end) = (Host::new(&self.chain.start)?, Host::new(&self.chain.end)?);
        let chain = Scores { start: start.values()?, end: end.values()?, transitions: values(t, lt)? };
        let (each, pairs) = (words * labels, (labels + 2) * labels);
        let (mut nll, mut slope, mut moves) = (vec![0.0; rows], vec![0.0; rows * each], vec![0.0; rows * pairs]);
        let given = values(e, le)?.chunks(each).zip(self.tags.chunks(1 + words));
        let made = nll.iter_mut().zip(slope.chunks_mut(each).zip(moves.chunks_mut(pairs)));
        run(given.zip(made), |((emissions, tags), (nll, (slope, moves)))| {
            *nll = chain.nll(emissions, &tags[1..][..tags[0] as usize], slope, moves);
        });
        self.keep([
            Tensor::from_vec(slope, (rows, words, labels), &Device::Cpu)?,
            Tensor::from_vec(moves, (rows, pairs), &Device::Cpu)?,
        ]);
        Ok((CpuStorage::F32(nll), rows.into()))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        emissions: &candle_core::CudaStorage,
        le: &Layout,
        transitions: &candle_core::CudaStorage,
        lt: &Layout,
    ) -> Result<(candle_core::CudaStorage, Shape)> {
        let (nll, slopes) = super::cuda::crf_nll((emissions, le), (transitions, lt), &self.chain, &self.tags)?;
        self.keep(slopes);
        Ok((nll, le.dims()[0].into()))
    }

    fn bwd(
        &self,
        emissions: &Tensor,
        transitions: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let slopes = self.slopes.lock().unwrap_or_else(PoisonError::into_inner);
        let Some([slope, moves]) = &*slopes else { bail!("the likelihood was not computed") };
        let (rows, labels) = (grad.elem_count(), transitions.dim(0)?);
        let of_rows = grad.reshape((rows, 1))?;
        let moves = moves.broadcast_mul(&of_rows)?.sum(0)?.reshape((labels + 2, labels))?;
        leaves::keep_tensor(&self.chain.start, moves.get(0)?)?;
        leaves::keep_tensor(&self.chain.end, moves.get(1)?)?;
        let emissions = leaves::give_tensor(emissions, slope.broadcast_mul(&of_rows.unsqueeze(2)?)?)?;
        Ok((emissions, leaves::give_tensor(transitions, moves.narrow(0, 2, labels)?)?))
    }
}

/// The scores of a chain in host memory.
#[derive(Clone, Copy)]
pub(super) struct Scores<'a> {
    pub start: &'a [f32],
    pub end: &'a [f32],
    pub transitions: &'a [f32],
}

impl Scores<'_> {
    /// nll of a row; its gradients are added to `slope` and `moves` (see [`Likelihood`]).
    fn nll(self, emissions: &[f32], tags: &[u32], slope: &mut [f32], moves: &mut [f32]) -> f32 {
        let all = 0..self.start.len();
        let agreeing = |tag: &u32| if *tag == UNKNOWN { all.clone() } else { *tag as usize..*tag as usize + 1 };
        let agreeing: Vec<_> = tags.iter().map(agreeing).collect();
        let total = log_partition(self, emissions, &vec![all; tags.len()], 1.0, slope, moves);
        (total - log_partition(self, emissions, &agreeing, -1.0, slope, moves)) as f32
    }

    /// Scores of moving from the tags `from`, a row each.
    #[inline(always)]
    fn rows(&self, from: &Range<usize>) -> impl Iterator<Item = &[f32]> + Clone {
        let labels = self.start.len();
        self.transitions[from.start * labels..from.end * labels].chunks_exact(labels)
    }
}

/// log Z over the paths whose tags are in `spans`, one for each word; `sign` times the gradients are added to `slope` and
/// `moves`.
#[apply(vectorised)]
fn log_partition<'a>(
    chain: Scores<'a>,
    emissions: &[f32],
    spans: &[Range<usize>],
    sign: f32,
    slope: &mut [f32],
    moves: &mut [f32],
) -> f64 {
    let Some((last, before)) = spans.split_last() else { return 0.0 };
    let labels = chain.start.len();
    let (alpha, reach, shift) = forward(chain, emissions, spans);
    let add = |to: &mut [f32], p: &[f32]| to.iter_mut().zip(p).for_each(|(to, p)| *to += sign * p);
    let (ends, counts) = moves.split_at_mut(2 * labels);
    // Probabilities of the tags of a word, from the last one on.
    let mut after = alpha[before.len() * labels..][last.clone()].to_vec();
    after.iter_mut().zip(&chain.end[last.clone()]).for_each(|(a, end)| *a += end);
    let top = max(&after);
    after.iter_mut().for_each(|a| *a = exp(*a - top));
    let total = sum(&after, |p| p);
    after.iter_mut().for_each(|p| *p /= total);
    add(&mut ends[labels..][last.clone()], &after);
    let mut pairs = vec![0.0; labels];
    for (word, (from, to)) in before.iter().zip(&spans[1..]).enumerate().rev() {
        add(&mut slope[(word + 1) * labels..][to.clone()], &after);
        let (alpha, reach) = (&alpha[word * labels..][from.clone()], &reach[(word + 1) * labels..][to.clone()]);
        let counts = counts[from.start * labels..].chunks_exact_mut(labels);
        let pairs = &mut pairs[..to.len()];
        let step = |((a, row), counts): ((&f32, &[f32]), &mut [f32])| {
            let terms = row[to.clone()].iter().zip(reach).zip(&after);
            pairs.iter_mut().zip(terms).for_each(|(pair, ((t, r), p))| *pair = p * exp(a + t - r));
            add(&mut counts[to.clone()], pairs);
            sum(pairs, |p| p)
        };
        after = alpha.iter().zip(chain.rows(from)).zip(counts).map(step).collect();
    }
    add(&mut slope[spans[0].clone()], &after);
    add(&mut ends[spans[0].clone()], &after);
    shift + f64::from(top + ln(total))
}

/// a and r of all words, and Σ m.
#[inline(always)]
fn forward(chain: Scores<'_>, emissions: &[f32], spans: &[Range<usize>]) -> (Vec<f32>, Vec<f32>, f64) {
    let labels = chain.start.len();
    let (mut alpha, mut reach, mut shift) = (emissions.to_vec(), vec![0.0; emissions.len()], 0.0);
    alpha.iter_mut().zip(chain.start).for_each(|(a, start)| *a += start);
    let mut sums = vec![0.0; labels];
    for (word, (from, to)) in spans.iter().zip(&spans[1..]).enumerate() {
        let (before, own) = alpha.split_at_mut((word + 1) * labels);
        let before = &before[word * labels..][from.clone()];
        let (reach, sums) = (&mut reach[(word + 1) * labels..][to.clone()], &mut sums[..to.len()]);
        reach.fill(f32::NEG_INFINITY);
        sums.fill(0.0);
        for (a, row) in before.iter().zip(chain.rows(from)) {
            let larger = |best: f32, x: f32| if x > best { x } else { best };
            reach.iter_mut().zip(&row[to.clone()]).for_each(|(most, t)| *most = larger(*most, a + t));
        }
        for (a, row) in before.iter().zip(chain.rows(from)) {
            let terms = row[to.clone()].iter().zip(&*reach);
            sums.iter_mut().zip(terms).for_each(|(sum, (t, most))| *sum += exp(a + t - most));
        }
        reach.iter_mut().zip(&*sums).for_each(|(most, sum)| *most += ln(*sum));
        let top = max(before);
        own[to.clone()].iter_mut().zip(&*reach).for_each(|(a, r)| *a += r - top);
        shift += f64::from(top);
    }
    (alpha, reach, shift)
}
