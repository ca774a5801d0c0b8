//! A linear-chain conditional random field (Lafferty et al. 2001) with the parameters of pytorch-crf: scores of
//! starting, of ending, and of each transition.
//!
//! ```text
//! score(y) = start[y_1] + Σ_t emission_t[y_t] + Σ_t transition[y_{t-1}, y_t] + end[y_n]
//! nll(y)   = log Σ_y' exp score(y') − score(y)
//! ```
//! Rows are padded at the end.

use candle_core::{Result, Tensor};
use candle_nn::{Init, VarBuilder};

use crate::ops::{Chain, crf_nll, viterbi};

pub use crate::ops::UNKNOWN;

/// A random field with the variables `start_transitions` `[L]`, `end_transitions` `[L]` and `transitions` `[L, L]`
/// (from, to).
pub struct Crf(Chain);

impl Crf {
    /// Creates the variables; fresh ones are uniform in ±0.1, as in pytorch-crf.
    ///
    /// # Errors
    /// Stored tensors have other shapes.
    pub fn new(tags: usize, vb: VarBuilder<'_>) -> Result<Self> {
        let init = Init::Uniform { lo: -0.1, up: 0.1 };
        Ok(Self(Chain {
            start: vb.get_with_hints(tags, "start_transitions", init)?,
            end: vb.get_with_hints(tags, "end_transitions", init)?,
            transitions: vb.get_with_hints((tags, tags), "transitions", init)?,
        }))
    }

    /// Returns the negative log-likelihood `[B]` of `tags`, one slice per row, under `emissions` `[B, W, L]`. Words
    /// with the tag [`UNKNOWN`] are summed over: the likelihood is that of all paths that agree with the other tags.
    ///
    /// # Errors
    /// The shapes do not match, a row is longer than `W`, or a tag is not below `L`.
    pub fn nll(&self, emissions: &Tensor, tags: &[&[u32]]) -> Result<Tensor> {
        crf_nll(emissions, &self.0, tags)
    }

    /// Returns the best path of each row (Viterbi 1967), as long as `lengths` says.
    ///
    /// # Errors
    /// The shapes do not match, or a row is longer than `W`.
    pub fn decode(&self, emissions: &Tensor, lengths: &[usize]) -> Result<Vec<Vec<u32>>> {
        viterbi(emissions, &self.0, lengths)
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::params::ParamStore;

    fn crf(tags: usize) -> Crf {
        Crf::new(tags, ParamStore::new(3, Device::Cpu).builder()).unwrap()
    }

    fn emissions(words: usize, tags: usize) -> Tensor {
        let values: Vec<f32> = (0..words * tags).map(|i| ((i * 7 + 3) % 11) as f32 / 3.0).collect();
        Tensor::from_vec(values, (1, words, tags), &Device::Cpu).unwrap()
    }

    fn nll(crf: &Crf, emissions: &Tensor, tags: &[u32]) -> f32 {
        crf.nll(emissions, &[tags]).unwrap().to_vec1::<f32>().unwrap()[0]
    }

    /// Returns every path of `words` words over `tags` tags.
    fn paths(words: usize, tags: usize) -> Vec<Vec<u32>> {
        (0..words).fold(vec![vec![]], |paths, _| {
            paths.iter().flat_map(|path| (0..tags as u32).map(|tag| [path.as_slice(), &[tag]].concat())).collect()
        })
    }

    #[test]
    fn probabilities_of_all_paths_sum_to_one_and_viterbi_finds_the_likeliest() {
        let crf = crf(3);
        for words in 1..=4 {
            let emissions = emissions(words, 3);
            let all = paths(words, 3).into_iter().map(|path| (nll(&crf, &emissions, &path), path));
            let all: Vec<(f32, Vec<u32>)> = all.collect();
            let total: f32 = all.iter().map(|(nll, _)| (-nll).exp()).sum();
            assert!((total - 1.0).abs() < 1e-5, "{total}");
            let best = all.iter().min_by(|a, b| a.0.total_cmp(&b.0)).unwrap();
            assert_eq!(crf.decode(&emissions, &[words]).unwrap(), [best.1.as_slice()]);
        }
    }

    #[test]
    fn unknown_tags_are_summed_over() {
        let crf = crf(3);
        let emissions = emissions(4, 3);
        let tags = [UNKNOWN, 2, UNKNOWN, UNKNOWN];
        let agrees = |path: &Vec<u32>| path[1] == 2;
        let likelihood = |path: Vec<u32>| (-nll(&crf, &emissions, &path)).exp();
        let total: f32 = paths(4, 3).into_iter().filter(agrees).map(likelihood).sum();
        let found = (-nll(&crf, &emissions, &tags)).exp();
        assert!((found - total).abs() < 1e-5 && total < 0.9, "{found} {total}");
        assert!(nll(&crf, &emissions, &[UNKNOWN; 4]).abs() < 1e-6);
    }

    #[test]
    fn padding_changes_nothing() {
        let crf = crf(4);
        let tags = [1, 2, 0];
        let short = emissions(3, 4);
        let long = short.pad_with_same(1, 0, 2).unwrap();
        assert_eq!(nll(&crf, &short, &tags), nll(&crf, &long, &tags));
        assert_eq!(crf.decode(&short, &[3]).unwrap(), crf.decode(&long, &[3]).unwrap());
    }

    #[test]
    fn equal_paths_are_decided_for_the_lowest_tag_and_rows_without_words_have_no_path() {
        let emissions = Tensor::zeros((2, 3, 4), candle_core::DType::F32, &Device::Cpu).unwrap();
        let zeros = |shape: &[usize]| Tensor::zeros(shape, candle_core::DType::F32, &Device::Cpu).unwrap();
        let chain = Chain { start: zeros(&[4]), end: zeros(&[4]), transitions: zeros(&[4, 4]) };
        assert_eq!(viterbi(&emissions, &chain, &[3, 0]).unwrap(), [vec![0, 0, 0], vec![]]);
        let nll = crf_nll(&emissions, &chain, &[&[1, 1, 1], &[]]).unwrap().to_vec1::<f32>().unwrap();
        assert!((nll[0] - 3.0 * 4f32.ln()).abs() < 1e-5 && nll[1] == 0.0, "{nll:?}");
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let crf = crf(3);
        let emissions = emissions(4, 3);
        let refused: [&[&[u32]]; 3] = [&[&[0, 1, 2, 0, 1]], &[&[3]], &[&[0], &[0]]];
        assert!(refused.into_iter().all(|tags| crf.nll(&emissions, tags).is_err()));
        assert!(crf.decode(&emissions, &[5]).is_err());
        assert!(self::crf(4).nll(&emissions, &[&[0]]).is_err());
    }
}
