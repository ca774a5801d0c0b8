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
    /// Means over the items of `rows`; None if there are no items.
    pub fn means(
        learner: &Learner,
        rows: &[&Example],
        purpose: &str,
        session: &mut Session<'_>,
    ) -> Result<Option<Self>> {
        let by_class = features(learner, rows)?;
        let classes: Vec<u32> = by_class.keys().copied().collect();
        session.ledger.prototypes(purpose, rows, &classes);
        let means: Vec<Tensor> =
            by_class.into_values().map(|features| features.mean(0)).collect::<candle_core::Result<_>>()?;
        if means.is_empty() { Ok(None) } else { Ok(Some(Self { classes, vectors: Tensor::stack(&means, 0)? })) }
    }

    /// Both together, in the order of label ids; where both have a class, `newer` counts.
    pub fn merged(older: Option<Self>, newer: Option<Self>) -> Result<Option<Self>> {
        let mut rows: BTreeMap<u32, Tensor> = BTreeMap::new();
        for prototypes in [older, newer].into_iter().flatten() {
            for (place, class) in prototypes.classes.into_iter().enumerate() {
                rows.insert(class, prototypes.vectors.get(place)?);
            }
        }
        let (classes, vectors): (Vec<u32>, Vec<Tensor>) = rows.into_iter().unzip();
        if classes.is_empty() { Ok(None) } else { Ok(Some(Self { classes, vectors: Tensor::stack(&vectors, 0)? })) }
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
