//! Class prototypes: means of features (Han et al. 2020, EMAR; Cui et al. 2021, RP-CRE). RE classes are relations, a
//! row is an item; NER classes are tags, `O` included, a word with a known tag is an item.

use std::collections::BTreeMap;

use candle_core::{D, Tensor};

use super::Session;
use crate::data::Example;
use crate::error::Result;
use crate::learner::Learner;

/// One vector per class.
#[derive(Debug, Clone)]
pub struct Prototypes {
    /// Label ids, ascending.
    pub classes: Vec<u32>,
    /// `[R, F]`, one row per class.
    pub vectors: Tensor,
    /// Items that each vector is the mean of.
    pub items: Vec<usize>,
}

/// Features of items by label id, `[N, F]`, without dropout and detached.
pub fn features(learner: &Learner, rows: &[&Example]) -> Result<BTreeMap<u32, Tensor>> {
    let mut chunks: BTreeMap<u32, Vec<Tensor>> = BTreeMap::new();
    for chunk in rows.chunks(64) {
        let Some(items) = learner.items(&learner.batch(chunk)?, |_| true)? else { continue };
        let features = items.features.detach();
        let mut places: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for (place, label) in (0u32..).zip(&items.labels) {
            places.entry(*label).or_default().push(place);
        }
        for (label, places) in places {
            let own = features.index_select(&Tensor::new(places, features.device())?, 0)?;
            chunks.entry(label).or_default().push(own);
        }
    }
    chunks.into_iter().map(|(label, chunks)| Ok((label, Tensor::cat(&chunks, 0)?))).collect()
}

impl Prototypes {
    /// Means over the items of `rows`, noted in the ledger; None if there are no items.
    pub fn means(
        learner: &Learner,
        rows: &[&Example],
        purpose: &str,
        session: &mut Session<'_>,
    ) -> Result<Option<Self>> {
        let means = Self::of(features(learner, rows)?)?;
        session.ledger.prototypes(purpose, rows, means.as_ref().map_or(&[], |means| &means.classes));
        Ok(means)
    }

    /// Means of features `[N, F]` by label id; None if there are no features.
    pub fn of(features: BTreeMap<u32, Tensor>) -> Result<Option<Self>> {
        let mut means = BTreeMap::new();
        for (class, features) in features {
            means.insert(class, (features.mean(0)?, features.dim(0)?));
        }
        Self::stacked(means)
    }

    /// Both together: where both have a class, the mean over the items of both.
    pub fn merged(older: Option<Self>, newer: Option<Self>) -> Result<Option<Self>> {
        let mut means: BTreeMap<u32, (Tensor, usize)> = BTreeMap::new();
        for prototypes in [older, newer].into_iter().flatten() {
            for (place, (class, items)) in prototypes.classes.into_iter().zip(prototypes.items).enumerate() {
                let vector = prototypes.vectors.get(place)?;
                let mean = match means.remove(&class) {
                    Some((other, others)) => {
                        let share = items as f64 / (items + others) as f64;
                        (((other * (1.0 - share))? + (vector * share)?)?, items + others)
                    }
                    None => (vector, items),
                };
                means.insert(class, mean);
            }
        }
        Self::stacked(means)
    }

    fn stacked(means: BTreeMap<u32, (Tensor, usize)>) -> Result<Option<Self>> {
        if means.is_empty() {
            return Ok(None);
        }
        let (classes, means): (Vec<u32>, Vec<(Tensor, usize)>) = means.into_iter().unzip();
        let (vectors, items): (Vec<Tensor>, Vec<usize>) = means.into_iter().unzip();
        Ok(Some(Self { classes, vectors: Tensor::stack(&vectors, 0)?, items }))
    }

    /// Place of a label id.
    pub fn place(&self, label: u32) -> Option<u32> {
        self.classes.binary_search(&label).ok().map(|place| place as u32)
    }
}

/// Rows of unit L2 norm.
pub fn normalised(vectors: &Tensor) -> Result<Tensor> {
    let norms = vectors.sqr()?.sum_keepdim(D::Minus1)?.sqrt()?.clamp(1e-12f32, f32::INFINITY)?;
    Ok(vectors.broadcast_div(&norms)?)
}

/// The dot products of features `[.., F]` with prototypes `[R, F]`, `[.., R]`.
pub fn similarities(features: &Tensor, prototypes: &Tensor) -> Result<Tensor> {
    Ok(features.matmul(&prototypes.t()?)?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use candle_core::Device;

    use super::*;

    fn of(rows: &[(u32, &[f32])]) -> Option<Prototypes> {
        let mut features: BTreeMap<u32, Vec<Tensor>> = BTreeMap::new();
        for (class, row) in rows {
            features.entry(*class).or_default().push(Tensor::new(*row, &Device::Cpu).unwrap());
        }
        let stacked = features.into_iter().map(|(class, rows)| (class, Tensor::stack(&rows, 0).unwrap()));
        Prototypes::of(stacked.collect()).unwrap()
    }

    #[test]
    fn a_class_in_both_is_the_mean_of_all_its_items() {
        let old: [(u32, &[f32]); 4] = [(0, &[1.0, 2.0]), (0, &[3.0, 0.0]), (0, &[2.0, 4.0]), (4, &[5.0, 5.0])];
        let new: [(u32, &[f32]); 2] = [(0, &[-6.0, 2.0]), (2, &[1.0, 1.0])];
        let merged = Prototypes::merged(of(&old), of(&new)).unwrap().unwrap();
        assert_eq!((merged.classes.as_slice(), merged.items.as_slice()), ([0, 2, 4].as_slice(), [4, 1, 1].as_slice()));
        assert_eq!(merged.vectors.to_vec2::<f32>().unwrap(), [[0.0, 2.0], [1.0, 1.0], [5.0, 5.0]]);
        let all = of(&[old.as_slice(), new.as_slice()].concat()).unwrap();
        assert_eq!(merged.vectors.to_vec2::<f32>().unwrap(), all.vectors.to_vec2::<f32>().unwrap());
        assert!(Prototypes::merged(None, None).unwrap().is_none());
    }
}
