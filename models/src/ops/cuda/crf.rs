//! Likelihood and best path of a linear chain (`models/kernels/crf.cu`).

use candle_core::{CudaStorage, DType, Layout, Result, Tensor};

use super::super::crf::Chain;
use super::{Shape3, device, empty, given, launch, made, read, storage};

/// Negative log-likelihood of each row, and its gradients: `[B, W, L]` with respect to the emissions, `[B, (L + 2) L]` to
/// start, end and transitions. `tags` are a row's length and its tags, `1 + W` values for each row.
pub(in crate::ops) fn crf_nll(
    (emissions, le): (&CudaStorage, &Layout),
    (transitions, lt): (&CudaStorage, &Layout),
    chain: &Chain,
    tags: &[u32],
) -> Result<(CudaStorage, [Tensor; 2])> {
    let (rows, words, labels) = le.shape().dims3()?;
    let (each, pairs, like) = (words * labels, (labels + 2) * labels, &chain.start);
    let tags = Tensor::from_slice(tags, (rows, 1 + words), like.device())?;
    let scratch = empty(like, rows * 3 * each, DType::F32)?;
    let nll = storage(&emissions.device, rows, DType::F32)?;
    let slope = empty(like, (rows, words, labels), DType::F32)?;
    let moves = empty(like, (rows, pairs), DType::F32)?;
    let arguments = [
        read(emissions, le, DType::F32, rows * each),
        given(like, DType::F32, labels),
        given(&chain.end, DType::F32, labels),
        read(transitions, lt, DType::F32, labels * labels),
        given(&tags, DType::U32, rows * (1 + words)),
        given(&scratch, DType::F32, rows * 3 * each),
        made(&nll, DType::F32, rows),
        given(&slope, DType::F32, rows * each),
        given(&moves, DType::F32, rows * pairs),
        words.into(),
        labels.into(),
    ];
    launch(&emissions.device, "crf_nll", &Shape3::rows(rows, labels * labels), &arguments)?;
    Ok((nll, [slope, moves]))
}

/// Best paths; the one wait is for them.
pub(in crate::ops) fn viterbi(emissions: &Tensor, chain: &Chain, lengths: &[usize]) -> Result<Vec<Vec<u32>>> {
    let (rows, words, labels) = emissions.dims3()?;
    let (emissions, count) = (emissions.contiguous()?, rows * words * labels);
    let numbers: Vec<u32> = lengths.iter().map(|length| *length as u32).collect();
    let on_device = Tensor::new(numbers, emissions.device())?;
    let (best, back) = (empty(&emissions, count, DType::F32)?, empty(&emissions, count, DType::U32)?);
    let paths = empty(&emissions, (rows, words), DType::U32)?;
    let arguments = [
        given(&emissions, DType::F32, count),
        given(&chain.start, DType::F32, labels),
        given(&chain.end, DType::F32, labels),
        given(&chain.transitions, DType::F32, labels * labels),
        given(&on_device, DType::U32, rows),
        given(&best, DType::F32, count),
        given(&back, DType::U32, count),
        given(&paths, DType::U32, rows * words),
        words.into(),
        labels.into(),
    ];
    launch(&device(&emissions)?, "viterbi", &Shape3::rows(rows, labels), &arguments)?;
    let cut = |(mut path, length): (Vec<u32>, &usize)| {
        path.truncate(*length);
        path
    };
    Ok(paths.to_vec2()?.into_iter().zip(lengths).map(cut).collect())
}
