//! Class prototypes: means of features (Han et al. 2020, EMAR; Cui et al. 2021, RP-CRE). RE classes are relations, a
//! row is an item; NER classes are tags, `O` included, a word with a known tag is an item.

use std::collections::BTreeMap;

use candle_core::{D, Tensor};

use crate::data::Example;
use crate::error::Result;
use crate::learner::Learner;
use crate::methods::method::Session;
use crate::run::checkpoint::State;

/// Prototypes: one feature vector per class.
#[derive(Debug, Clone)]
pub struct Prototypes {
    /// Label ids of the classes, ascending.
    pub classes: Vec<u32>,
    /// `[R, F]`, one row per class.
    pub vectors: Tensor,
    /// Number of items that each vector is the mean of.
    pub items: Vec<usize>,
}

/// Computes the features of items, `[N, F]` for each label id, without dropout and detached.
pub fn features(learner: &Learner, rows: &[&Example]) -> Result<BTreeMap<u32, Tensor>> {
    let mut chunks: BTreeMap<u32, Vec<Tensor>> = BTreeMap::new();
    for chunk in rows.chunks(64) {
        let Some(items) = learner.items(&learner.batch(chunk)?, |_| true)? else { continue };
        let features = items.features.detach();
        let mut by_label: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for (index, label) in (0u32..).zip(&items.labels) {
            by_label.entry(*label).or_default().push(index);
        }
        for (label, indices) in by_label {
            let selected = features.index_select(&Tensor::new(indices, features.device())?, 0)?;
            chunks.entry(label).or_default().push(selected);
        }
    }
    chunks.into_iter().map(|(label, chunks)| Ok((label, Tensor::cat(&chunks, 0)?))).collect()
}

impl Prototypes {
    /// Computes the means over the items of `rows` and records them in the trace; none if there are no items.
    ///
    /// # Errors
    /// The device is out of memory.
    pub fn means(
        learner: &Learner,
        rows: &[&Example],
        purpose: &str,
        session: &mut Session<'_>,
    ) -> Result<Option<Self>> {
        let kept = session.keep(&format!("prototypes {purpose}"), |_| {
            Self::from_features(features(learner, rows)?)?.map_or_else(|| Ok(State::default()), Self::into_state)
        })?;
        let means = Self::from_state(kept)?;
        session.trace.prototypes(purpose, rows, means.as_ref().map_or(&[], |means| &means.classes));
        Ok(means)
    }

    /// Computes the means of the features `[N, F]` of each label id; none if there are no features.
    ///
    /// # Errors
    /// The device is out of memory.
    pub fn from_features(features: BTreeMap<u32, Tensor>) -> Result<Option<Self>> {
        let mut means = BTreeMap::new();
        for (class, features) in features {
            means.insert(class, (features.mean(0)?, features.dim(0)?));
        }
        Self::stacked(means)
    }

    /// Merges two sets: a class in both gets the mean over the items of both.
    ///
    /// # Errors
    /// The device is out of memory.
    pub fn merged(older: Option<Self>, newer: Option<Self>) -> Result<Option<Self>> {
        let mut means: BTreeMap<u32, (Tensor, usize)> = BTreeMap::new();
        for prototypes in [older, newer].into_iter().flatten() {
            for (index, (class, items)) in prototypes.classes.into_iter().zip(prototypes.items).enumerate() {
                let vector = prototypes.vectors.get(index)?;
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

    /// Returns the prototypes as tensors, for checkpoints.
    fn into_state(self) -> Result<State> {
        let device = &self.vectors.device().clone();
        let count = |items: &usize| *items as u32;
        let items = Tensor::new(self.items.iter().map(count).collect::<Vec<u32>>(), device)?;
        let classes = Tensor::new(self.classes, device)?;
        let tensors = [("classes", classes), ("items", items), ("vectors", self.vectors)];
        Ok(State { tensors: tensors.map(|(name, tensor)| (name.to_owned(), tensor)).into() })
    }

    /// Returns what [`Prototypes::into_state`] made of some; none if it was made of none.
    fn from_state(mut state: State) -> Result<Option<Self>> {
        let mut take = |name: &str| state.tensors.remove(name);
        let (Some(classes), Some(items), Some(vectors)) = (take("classes"), take("items"), take("vectors")) else {
            return Ok(None);
        };
        let items = items.to_vec1::<u32>()?.into_iter().map(|items| items as usize).collect();
        Ok(Some(Self { classes: classes.to_vec1()?, vectors, items }))
    }

    /// Returns the index of a label id in [`Prototypes::classes`].
    pub fn index_of(&self, label: u32) -> Option<u32> {
        self.classes.binary_search(&label).ok().map(|index| index as u32)
    }
}

/// Scales rows to unit L2 norm.
pub fn normalised(vectors: &Tensor) -> Result<Tensor> {
    let norms = vectors.sqr()?.sum_keepdim(D::Minus1)?.sqrt()?.clamp(1e-12f32, f32::INFINITY)?;
    Ok(vectors.broadcast_div(&norms)?)
}

/// Computes the dot products `[.., R]` of features `[.., F]` with prototypes `[R, F]`.
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
        Prototypes::from_features(stacked.collect()).unwrap()
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
