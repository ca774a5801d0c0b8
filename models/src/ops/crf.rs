//! Negative log-likelihood of a linear-chain conditional random field as one operation.
//!
//! A row has n words with emissions e; s, f and T(i, j) are the scores of starting, of ending and of moving from tag i
//! to tag j:
//!
//! ```text
//! a_1 = s + e_1,  r_t(j) = log Σ_i exp(a_{t-1}(i) + T(i, j)),  a_t(j) = e_t(j) + r_t(j) - m_{t-1},  m_t = max_j a_t(j)
//! log Z = Σ_{t<n} m_t + log Σ_j exp(a_n(j) + f(j))
//! p_n(j) = exp(a_n(j) + f(j)) / Σ,  p_t(i, j) = p_t(j) exp(a_{t-1}(i) + T(i, j) - r_t(j)),  p_{t-1}(i) = Σ_j p_t(i, j)
//! ```
//!
//! The probabilities p of tags and of pairs of tags are the gradients of log Z with respect to emissions and
//! transitions. nll = log Z over all paths - log Z over the paths that agree with the known tags (Tsuboi et al. 2008).
//! If every tag is known, the latter is the score of one path, whose probabilities are 0 and 1. The forward pass
//! computes value and gradients together, a row at a time; the backward pass only scales.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use candle_core::{CpuStorage, CustomOp2, Device, Layout, Result, Shape, Tensor, bail};
use macro_rules_attribute::apply;

use super::chain::{Chain, UNKNOWN};
use super::dispatch::fused;
#[cfg(feature = "cuda")]
use super::dispatch::on_gpu;
use super::host::{Host, values};
use super::maths::{exp, ln, max, sum};
use super::param_grads::{self, push_grad, push_or_return};
use super::threads::run;
use crate::simd::vectorised;

/// Added to the emissions of tags that disagree with the known one, where the likelihood is composed.
const DISAGREEING: f64 = -1e9;

/// Returns the negative log-likelihood `[B]` of `tags`, a slice per row, under `emissions` `[B, W, L]`. Words with the
/// tag [`UNKNOWN`] are summed over; a row without words has 0.
///
/// # Errors
/// The shapes do not match, a row is longer than `W`, or a tag is not below `L`.
pub fn crf_nll(emissions: &Tensor, chain: &Chain, tags: &[&[u32]]) -> Result<Tensor> {
    let lengths: Vec<usize> = tags.iter().map(|tags| tags.len()).collect();
    let (_, words, labels) = chain.sizes(emissions, &lengths)?;
    if let Some(tag) = tags.iter().copied().flatten().find(|tag| **tag as usize >= labels && **tag != UNKNOWN) {
        bail!("tag {tag}, but the chain has {labels} tags");
    }
    if !served(emissions) || !param_grads::accepts(&chain.start) || !param_grads::accepts(&chain.end) {
        return compose(emissions, chain, tags);
    }
    let padded = |tags: &&[u32]| {
        let row = std::iter::once(tags.len() as u32).chain(tags.iter().copied());
        row.chain(std::iter::repeat(UNKNOWN)).take(1 + words).collect::<Vec<_>>()
    };
    let tags = tags.iter().flat_map(padded).collect();
    let likelihood = LikelihoodOp { chain: chain.clone(), tags, slopes: Mutex::new(None) };
    emissions.contiguous()?.apply_op2(&chain.transitions.contiguous()?, likelihood)
}

/// Returns whether fused loops or kernels compute the likelihood of such emissions.
fn served(emissions: &Tensor) -> bool {
    #[cfg(feature = "cuda")]
    if on_gpu(emissions) {
        return emissions.dtype() == candle_core::DType::F32;
    }
    fused(emissions)
}

/// Computes [`crf_nll`] by candle's operations.
fn compose(emissions: &Tensor, chain: &Chain, tags: &[&[u32]]) -> Result<Tensor> {
    let (rows, words, labels) = emissions.dims3()?;
    let mut real = vec![0u8; rows * words];
    let mut bias = vec![0.0; rows * words * labels];
    for (row, tags) in tags.iter().enumerate() {
        for (word, tag) in (row * words..).zip(*tags) {
            real[word] = 1;
            if *tag != UNKNOWN {
                bias[word * labels..][..labels].fill(DISAGREEING);
                bias[word * labels + *tag as usize] = 0.0;
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

/// The node of the graph, which emissions and transitions enter; the other scores' gradients are pushed.
struct LikelihoodOp {
    chain: Chain,
    /// For each row, its length and its tags, padded to `1 + W` values.
    tags: Vec<u32>,
    /// Gradients of each row's nll: `[B, W, L]` with respect to its emissions, and `[B, (L + 2) L]` with respect to
    /// `start`, `end` and `transitions`, one after another.
    slopes: Mutex<Option<[Tensor; 2]>>,
}

impl LikelihoodOp {
    fn save(&self, slopes: [Tensor; 2]) {
        *self.slopes.lock().unwrap_or_else(PoisonError::into_inner) = Some(slopes);
    }
}

impl CustomOp2 for LikelihoodOp {
    fn name(&self) -> &'static str {
        "CRF likelihood"
    }

    fn cpu_fwd(&self, e: &CpuStorage, le: &Layout, t: &CpuStorage, lt: &Layout) -> Result<(CpuStorage, Shape)> {
        let (rows, words, labels) = le.shape().dims3()?;
        let start = Host::new(&self.chain.start)?;
        let end = Host::new(&self.chain.end)?;
        let chain = Scores { start: start.values()?, end: end.values()?, transitions: values(t, lt)? };
        let each = words * labels;
        let pairs = (labels + 2) * labels;
        let mut nll = vec![0.0; rows];
        let mut slope = vec![0.0; rows * each];
        let mut moves = vec![0.0; rows * pairs];
        let inputs = values(e, le)?.chunks(each).zip(self.tags.chunks(1 + words));
        let outputs = nll.iter_mut().zip(slope.chunks_mut(each).zip(moves.chunks_mut(pairs)));
        run(inputs.zip(outputs), |((emissions, tags), (nll, (slope, moves)))| {
            *nll = chain.nll(emissions, &tags[1..][..tags[0] as usize], slope, moves);
        });
        self.save([
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
        let inputs = super::cuda::ChainInputs { emissions, le, transitions, lt };
        let (nll, slopes) = super::cuda::crf_nll(&inputs, &self.chain, &self.tags)?;
        self.save(slopes);
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
        let labels = transitions.dim(0)?;
        let row_grads = grad.reshape((grad.elem_count(), 1))?;
        let moves = moves.broadcast_mul(&row_grads)?.sum(0)?.reshape((labels + 2, labels))?;
        push_grad(&self.chain.start, moves.get(0)?)?;
        push_grad(&self.chain.end, moves.get(1)?)?;
        let emissions = push_or_return(emissions, slope.broadcast_mul(&row_grads.unsqueeze(2)?)?)?;
        Ok((emissions, push_or_return(transitions, moves.narrow(0, 2, labels)?)?))
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
    /// Returns the nll of a row and adds its gradients to `slope` and `moves` (see [`LikelihoodOp`]).
    fn nll(self, emissions: &[f32], tags: &[u32], slope: &mut [f32], moves: &mut [f32]) -> f32 {
        let all = 0..self.start.len();
        let agreeing = |tag: &u32| if *tag == UNKNOWN { all.clone() } else { *tag as usize..*tag as usize + 1 };
        let agreeing: Vec<_> = tags.iter().map(agreeing).collect();
        let total = log_partition(self, emissions, &vec![all; tags.len()], 1.0, slope, moves);
        (total - log_partition(self, emissions, &agreeing, -1.0, slope, moves)) as f32
    }

    /// Returns the scores of moving from each of the tags `from`, a row per tag.
    #[inline(always)]
    fn rows(&self, from: &Range<usize>) -> impl Iterator<Item = &[f32]> + Clone {
        let labels = self.start.len();
        self.transitions[from.start * labels..from.end * labels].chunks_exact(labels)
    }
}

/// Returns log Z over the paths whose tags are in `spans`, one span per word, and adds `sign` times its gradients to
/// `slope` and `moves`.
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
    // `after` holds the probabilities of a word's tags, beginning with the last word.
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
        let alpha = &alpha[word * labels..][from.clone()];
        let reach = &reach[(word + 1) * labels..][to.clone()];
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

/// Returns a and r of all words, and Σ m.
#[inline(always)]
fn forward(chain: Scores<'_>, emissions: &[f32], spans: &[Range<usize>]) -> (Vec<f32>, Vec<f32>, f64) {
    let labels = chain.start.len();
    let mut alpha = emissions.to_vec();
    let mut reach = vec![0.0; emissions.len()];
    let mut shift = 0.0;
    alpha.iter_mut().zip(chain.start).for_each(|(a, start)| *a += start);
    let mut sums = vec![0.0; labels];
    for (word, (from, to)) in spans.iter().zip(&spans[1..]).enumerate() {
        let (before, after) = alpha.split_at_mut((word + 1) * labels);
        let before = &before[word * labels..][from.clone()];
        let reach = &mut reach[(word + 1) * labels..][to.clone()];
        let sums = &mut sums[..to.len()];
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
        after[to.clone()].iter_mut().zip(&*reach).for_each(|(a, r)| *a += r - top);
        shift += f64::from(top);
    }
    (alpha, reach, shift)
}
