//! What prototypes, memory selection and token-wise losses count: RE rows, NER words with a known tag.

use candle_core::{DType, Tensor};
use mkgc_builder::corpus::Extraction;

use crate::data::{Batch, UNKNOWN};
use crate::error::Result;

/// Items of a batch: one feature vector and one label id each.
pub struct Items {
    /// Features of the `N` items, `[N, F]` f32.
    pub features: Tensor,
    /// Label id of each of the `N` items.
    pub labels: Vec<u32>,
    /// Row of the batch that each item is in.
    pub rows: Vec<usize>,
}

impl Items {
    /// Selects the items whose label `keep` accepts from features, relations `[B, F]`, entities `[B, W, F]`; none if
    /// there is no such item.
    pub fn select(
        kind: Extraction,
        features: &Tensor,
        batch: &Batch,
        keep: impl Fn(u32) -> bool,
    ) -> Result<Option<Self>> {
        let words = if kind == Extraction::Relations { 1 } else { features.dim(1)? };
        let mut places = Vec::new();
        let mut labels = Vec::new();
        let mut rows = Vec::new();
        for (row, example) in batch.examples.iter().enumerate() {
            for (word, label) in example.gold.iter().enumerate() {
                if *label != UNKNOWN && keep(*label) {
                    places.push((row * words + word) as u32);
                    labels.push(*label);
                    rows.push(row);
                }
            }
        }
        if places.is_empty() {
            return Ok(None);
        }
        let size = features.dims()[features.rank() - 1];
        let index = Tensor::new(places, features.device())?;
        let features = features.reshape(((), size))?.index_select(&index, 0)?.to_dtype(DType::F32)?;
        Ok(Some(Self { features, labels, rows }))
    }
}
