//! Linear-chain conditional random field (Lafferty et al. 2001), with the parametrisation of pytorch-crf: scores of
//! starting, of ending, and of each transition.
//!
//! ```text
//! score(y) = start[y_1] + Σ_t emission_t[y_t] + Σ_t transition[y_{t-1}, y_t] + end[y_n]
//! nll(y)   = log Σ_y' exp score(y') − score(y)
//! ```
//! Rows are padded at the end; `mask` is 1 on real words.

use candle_core::{DType, Result, Tensor};
use candle_nn::{Init, VarBuilder};

/// Variables `start_transitions` `[L]`, `end_transitions` `[L]`, `transitions` `[L, L]` (from, to).
pub struct Crf {
    start: Tensor,
    end: Tensor,
    transitions: Tensor,
}

impl Crf {
    /// Uniform in ±0.1, as pytorch-crf starts.
    ///
    /// # Errors
    /// Stored tensors of other shapes.
    pub fn new(tags: usize, vb: VarBuilder<'_>) -> Result<Self> {
        let init = Init::Uniform { lo: -0.1, up: 0.1 };
        Ok(Self {
            start: vb.get_with_hints(tags, "start_transitions", init)?,
            end: vb.get_with_hints(tags, "end_transitions", init)?,
            transitions: vb.get_with_hints((tags, tags), "transitions", init)?,
        })
    }

    /// Negative log-likelihood `[B]` of `tags` `[B, W]` u32 under `emissions` `[B, W, L]`; `mask` `[B, W]` u32.
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn nll(&self, emissions: &Tensor, tags: &Tensor, mask: &Tensor) -> Result<Tensor> {
        self.log_partition(emissions, mask)? - self.score(emissions, tags, mask)?
    }

    /// log Σ_y exp score(y), `[B]`, by the forward algorithm in log space.
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn log_partition(&self, emissions: &Tensor, mask: &Tensor) -> Result<Tensor> {
        let (_, words, _) = emissions.dims3()?;
        let mask = mask.ne(0u32)?;
        let transitions = self.transitions.unsqueeze(0)?;
        let mut alpha = emissions.narrow(1, 0, 1)?.squeeze(1)?.broadcast_add(&self.start)?;
        for word in 1..words {
            let emission = emissions.narrow(1, word, 1)?;
            let next = alpha.unsqueeze(2)?.broadcast_add(&transitions)?.broadcast_add(&emission)?.log_sum_exp(1)?;
            alpha = mask.narrow(1, word, 1)?.broadcast_as(alpha.shape())?.where_cond(&next, &alpha)?;
        }
        alpha.broadcast_add(&self.end)?.log_sum_exp(1)
    }

    /// Score `[B]` of the given paths.
    fn score(&self, emissions: &Tensor, tags: &Tensor, mask: &Tensor) -> Result<Tensor> {
        let (rows, words, labels) = emissions.dims3()?;
        let tags_of = tags.to_vec2::<u32>()?;
        let weights = mask.to_vec2::<u32>()?;
        let first: Vec<u32> = tags_of.iter().map(|tags| tags[0]).collect();
        let last = tags_of.iter().zip(&weights).map(|(tags, mask)| {
            let length = mask.iter().filter(|on| **on != 0).count();
            tags[length.saturating_sub(1)]
        });
        let select = |from: &Tensor, ids: Vec<u32>| from.index_select(&Tensor::new(ids, from.device())?, 0);
        let ends = (select(&self.start, first)? + select(&self.end, last.collect())?)?;
        let mask = mask.to_dtype(DType::F32)?;
        let emitted = emissions.gather(&tags.unsqueeze(2)?, 2)?.squeeze(2)?;
        let emitted = (emitted * &mask)?.sum(1)?;
        if words == 1 {
            return ends + emitted;
        }
        let pairs =
            tags_of.iter().flat_map(|tags| tags.windows(2).map(|pair| pair[0] * labels as u32 + pair[1])).collect();
        let moved = select(&self.transitions.flatten_all()?, pairs)?.reshape((rows, words - 1))?;
        ends + emitted + (moved * mask.narrow(1, 1, words - 1)?)?.sum(1)?
    }

    /// The best path of each row, as long as its mask (Viterbi 1967).
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn decode(&self, emissions: &Tensor, mask: &Tensor) -> Result<Vec<Vec<usize>>> {
        let (start, end) = (self.start.to_vec1::<f32>()?, self.end.to_vec1::<f32>()?);
        let transitions = self.transitions.to_vec2::<f32>()?;
        let rows = emissions.to_vec3::<f32>()?.into_iter().zip(mask.to_vec2::<u32>()?);
        Ok(rows
            .map(|(words, mask)| {
                let length = mask.iter().filter(|on| **on != 0).count();
                viterbi(&words[..length], &start, &transitions, &end)
            })
            .collect())
    }
}

fn viterbi(words: &[Vec<f32>], start: &[f32], transitions: &[Vec<f32>], end: &[f32]) -> Vec<usize> {
    let Some(first) = words.first() else { return Vec::new() };
    let tags = start.len();
    let best_of =
        |value: &dyn Fn(usize) -> f32| (1..tags).fold(0, |best, tag| if value(tag) > value(best) { tag } else { best });
    let mut scores: Vec<f32> = first.iter().zip(start).map(|(emission, start)| emission + start).collect();
    let mut back: Vec<Vec<usize>> = Vec::with_capacity(words.len());
    for word in &words[1..] {
        let from: Vec<usize> = (0..tags).map(|to| best_of(&|tag| scores[tag] + transitions[tag][to])).collect();
        scores = (0..tags).map(|to| scores[from[to]] + transitions[from[to]][to] + word[to]).collect();
        back.push(from);
    }
    let mut path = vec![best_of(&|tag| scores[tag] + end[tag])];
    for from in back.iter().rev() {
        path.push(from[path[path.len() - 1]]);
    }
    path.reverse();
    path
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::params::ParamStore;

    fn crf(tags: usize) -> Crf {
        Crf::new(tags, ParamStore::new(3, Device::Cpu).builder()).unwrap()
    }

    /// Every path of `words` words over `tags` tags.
    fn paths(words: usize, tags: usize) -> Vec<Vec<u32>> {
        (0..words).fold(vec![vec![]], |paths, _| {
            paths.iter().flat_map(|path| (0..tags as u32).map(|tag| [path.as_slice(), &[tag]].concat())).collect()
        })
    }

    #[test]
    fn probabilities_of_all_paths_sum_to_one_and_viterbi_finds_the_likeliest() {
        let (crf, device) = (crf(3), Device::Cpu);
        for words in 1..=4 {
            let values: Vec<f32> = (0..words * 3).map(|i| ((i * 7 + 3) % 11) as f32 / 3.0).collect();
            let emissions = Tensor::from_vec(values, (1, words, 3), &device).unwrap();
            let mask = Tensor::ones((1, words), DType::U32, &device).unwrap();
            let nll = |path: &Vec<u32>| {
                let tags = Tensor::new(path.clone(), &device).unwrap().unsqueeze(0).unwrap();
                crf.nll(&emissions, &tags, &mask).unwrap().to_vec1::<f32>().unwrap()[0]
            };
            let all: Vec<(f32, Vec<u32>)> = paths(words, 3).into_iter().map(|path| (nll(&path), path)).collect();
            let total: f32 = all.iter().map(|(nll, _)| (-nll).exp()).sum();
            assert!((total - 1.0).abs() < 1e-5, "{total}");
            let best = all.iter().min_by(|a, b| a.0.total_cmp(&b.0)).unwrap();
            let found: Vec<u32> = crf.decode(&emissions, &mask).unwrap()[0].iter().map(|tag| *tag as u32).collect();
            assert_eq!(found, best.1);
        }
    }

    #[test]
    fn padding_changes_nothing() {
        let (crf, device) = (crf(4), Device::Cpu);
        let values: Vec<f32> = (0..12).map(|i| (i % 5) as f32).collect();
        let short = Tensor::from_vec(values, (1, 3, 4), &device).unwrap();
        let long = short.pad_with_same(1, 0, 2).unwrap();
        let nll = |emissions: &Tensor, tags: &[u32], mask: &[u32]| {
            let row = |values: &[u32]| Tensor::new(values, &device).unwrap().unsqueeze(0).unwrap();
            (
                crf.nll(emissions, &row(tags), &row(mask)).unwrap().to_vec1::<f32>().unwrap()[0],
                crf.decode(emissions, &row(mask)).unwrap(),
            )
        };
        assert_eq!(nll(&short, &[1, 2, 0], &[1, 1, 1]), nll(&long, &[1, 2, 0, 3, 3], &[1, 1, 1, 0, 0]));
    }
}
