//! Finds the likeliest path through a chain (Viterbi 1967).

use candle_core::{DType, Device, Result, Tensor};

use super::chain::Chain;
use super::crf::Scores;
#[cfg(feature = "cuda")]
use super::dispatch::on_gpu;
use super::host::Host;
use super::threads::run;

/// Returns the best path of each row of `emissions` `[B, W, L]`, as long as `lengths` says. Ties go to the lowest tag.
///
/// # Errors
/// The shapes do not match, or a row is longer than `W`.
pub fn viterbi(emissions: &Tensor, chain: &Chain, lengths: &[usize]) -> Result<Vec<Vec<u32>>> {
    let (_, words, labels) = chain.sizes(emissions, lengths)?;
    #[cfg(feature = "cuda")]
    if on_gpu(emissions) && emissions.dtype() == DType::F32 {
        return super::cuda::viterbi(emissions, chain, lengths);
    }
    let on_host = |x: &Tensor| x.to_device(&Device::Cpu)?.to_dtype(DType::F32)?.contiguous();
    let emissions = on_host(emissions)?;
    let start = on_host(&chain.start)?;
    let end = on_host(&chain.end)?;
    let transitions = on_host(&chain.transitions)?;
    let emissions = Host::new(&emissions)?;
    let start = Host::new(&start)?;
    let end = Host::new(&end)?;
    let transitions = Host::new(&transitions)?;
    let scores = Scores { start: start.values()?, end: end.values()?, transitions: transitions.values()? };
    let rows = emissions.values()?.chunks(words * labels).zip(lengths);
    Ok(run(rows, |(emissions, length)| best_path(scores, &emissions[..length * labels])))
}

/// Returns the best path of one row of emissions `[W, L]`.
fn best_path(chain: Scores<'_>, emissions: &[f32]) -> Vec<u32> {
    let labels = chain.start.len();
    let mut words = emissions.chunks_exact(labels);
    let Some(first) = words.next() else { return Vec::new() };
    let mut scores: Vec<f32> = first.iter().zip(chain.start).map(|(emission, start)| emission + start).collect();
    let mut best = vec![0.0; labels];
    let mut back = vec![0u32; emissions.len()];
    for (word, back) in words.zip(back.chunks_exact_mut(labels).skip(1)) {
        best.fill(f32::NEG_INFINITY);
        for (from, (score, row)) in scores.iter().zip(chain.transitions.chunks_exact(labels)).enumerate() {
            for ((best, back), transition) in best.iter_mut().zip(&mut *back).zip(row) {
                if score + transition > *best {
                    (*best, *back) = (score + transition, from as u32);
                }
            }
        }
        scores.iter_mut().zip(best.iter().zip(word)).for_each(|(score, (best, emission))| *score = best + emission);
    }
    let ended = scores.iter().zip(chain.end).map(|(score, end)| score + end).enumerate();
    let (mut tag, _) = ended.fold((0, f32::NEG_INFINITY), |best, (tag, x)| if x > best.1 { (tag, x) } else { best });
    let mut path = vec![tag as u32];
    for back in back.chunks_exact(labels).skip(1).rev() {
        tag = back[tag] as usize;
        path.push(tag as u32);
    }
    path.reverse();
    path
}
