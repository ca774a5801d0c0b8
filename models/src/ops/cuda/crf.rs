//! Likelihood and best path of a linear chain, by the kernels of `models/kernels/crf.cu`.

use candle_core::{CudaStorage, DType, Layout, Result, Tensor};

use super::launch::{Launch, device, empty, input_arg, launch, output_arg, storage, tensor_arg};
use crate::ops::chain::Chain;

/// The inputs that candle hands to the likelihood's node.
pub(in crate::ops) struct ChainInputs<'a> {
    /// Emissions, `[B, W, L]` f32: the score of each tag at each word of each row.
    pub emissions: &'a CudaStorage,
    /// Where the emissions lie in their storage.
    pub le: &'a Layout,
    /// Transitions, `[L, L]` f32: the score of moving from a tag (row) to a tag (column).
    pub transitions: &'a CudaStorage,
    /// Where the transitions lie in their storage.
    pub lt: &'a Layout,
}

/// Returns the negative log-likelihood of each row, and its gradients: `[B, W, L]` with respect to the emissions and
/// `[B, (L + 2) L]` with respect to start, end and transitions. `tags` are each row's length and tags, `1 + W` values.
pub(in crate::ops) fn crf_nll(
    inputs: &ChainInputs<'_>,
    chain: &Chain,
    tags: &[u32],
) -> Result<(CudaStorage, [Tensor; 2])> {
    let ChainInputs { emissions, le, transitions, lt } = *inputs;
    let (rows, words, labels) = le.shape().dims3()?;
    let each = words * labels;
    let pairs = (labels + 2) * labels;
    let like = &chain.start;
    let tags = Tensor::from_slice(tags, (rows, 1 + words), like.device())?;
    let scratch = empty(like, rows * 3 * each, DType::F32)?;
    let nll = storage(&emissions.device, rows, DType::F32)?;
    let slope = empty(like, (rows, words, labels), DType::F32)?;
    let moves = empty(like, (rows, pairs), DType::F32)?;
    let arguments = [
        input_arg(emissions, le, DType::F32, rows * each),
        tensor_arg(like, DType::F32, labels),
        tensor_arg(&chain.end, DType::F32, labels),
        input_arg(transitions, lt, DType::F32, labels * labels),
        tensor_arg(&tags, DType::U32, rows * (1 + words)),
        tensor_arg(&scratch, DType::F32, rows * 3 * each),
        output_arg(&nll, DType::F32, rows),
        tensor_arg(&slope, DType::F32, rows * each),
        tensor_arg(&moves, DType::F32, rows * pairs),
        words.into(),
        labels.into(),
    ];
    launch(&emissions.device, "crf_nll", &Launch::rows(rows, labels * labels), &arguments)?;
    Ok((nll, [slope, moves]))
}

/// Returns the best path of each row, waiting for the GPU.
pub(in crate::ops) fn viterbi(emissions: &Tensor, chain: &Chain, lengths: &[usize]) -> Result<Vec<Vec<u32>>> {
    let (rows, words, labels) = emissions.dims3()?;
    let emissions = emissions.contiguous()?;
    let count = rows * words * labels;
    let numbers: Vec<u32> = lengths.iter().map(|length| *length as u32).collect();
    let on_device = Tensor::new(numbers, emissions.device())?;
    let best = empty(&emissions, count, DType::F32)?;
    let back = empty(&emissions, count, DType::U32)?;
    let paths = empty(&emissions, (rows, words), DType::U32)?;
    let arguments = [
        tensor_arg(&emissions, DType::F32, count),
        tensor_arg(&chain.start, DType::F32, labels),
        tensor_arg(&chain.end, DType::F32, labels),
        tensor_arg(&chain.transitions, DType::F32, labels * labels),
        tensor_arg(&on_device, DType::U32, rows),
        tensor_arg(&best, DType::F32, count),
        tensor_arg(&back, DType::U32, count),
        tensor_arg(&paths, DType::U32, rows * words),
        words.into(),
        labels.into(),
    ];
    launch(&device(&emissions)?, "viterbi", &Launch::rows(rows, labels), &arguments)?;
    let cut = |(mut path, length): (Vec<u32>, &usize)| {
        path.truncate(*length);
        path
    };
    Ok(paths.to_vec2()?.into_iter().zip(lengths).map(cut).collect())
}
