//! Batches: rows of similar length together, each batch padded to its own longest row.

use candle_core::{Device, Tensor};
use mkgc_models::inputs::Pixels;
use mkgc_models::ops::Ids;
use rand::Rng;
use rand::seq::SliceRandom;

use super::Example;
use crate::error::Result;

/// A padded batch of `B` rows, `T` word pieces, `A` anchors (RE: 2; NER: words).
pub struct Batch<'a> {
    /// The rows, in batch order.
    pub examples: Vec<&'a Example>,
    /// Word-piece ids `[B, T]`, padded with the tokenizer's padding id.
    pub ids: Ids,
    /// 1 where `ids` is a real piece, `[B, T]`, u32.
    pub mask: Tensor,
    /// Anchor positions `[B, A]`, u32, padded with 0.
    pub anchors: Tensor,
    /// The rows' pictures, for networks that read them.
    pub pixels: Option<Pixels>,
}

impl<'a> Batch<'a> {
    /// Pads rows into tensors; `pad` is the tokenizer's padding id.
    pub fn new(examples: Vec<&'a Example>, pad: u32, device: &Device) -> Result<Self> {
        let (ids, shape) = padded(examples.iter().map(|example| example.ids.iter().copied()), pad);
        let (mask, _) = padded(examples.iter().map(|example| std::iter::repeat_n(1, example.ids.len())), 0);
        let (anchors, places) = padded(examples.iter().map(|example| example.anchors.iter().copied()), 0);
        Ok(Self {
            examples,
            ids: Ids::new(ids, shape, device)?,
            mask: Tensor::from_vec(mask, shape, device)?,
            anchors: Tensor::from_vec(anchors, places, device)?,
            pixels: None,
        })
    }
}

/// Pads rows to the length of the longest and joins them; returns their shape as well.
fn padded<R: ExactSizeIterator<Item = u32>>(
    rows: impl Iterator<Item = R> + Clone,
    pad: u32,
) -> (Vec<u32>, (usize, usize)) {
    let width = rows.clone().map(|row| row.len()).max().unwrap_or(0).max(1);
    let shape = (rows.clone().count(), width);
    (rows.flat_map(|row| row.chain(std::iter::repeat(pad)).take(width)).collect(), shape)
}

/// Windows of this many batches are sorted by length; the shuffle decides which rows share a window.
const BUCKET: usize = 16;

/// Returns the rows of an epoch in shuffled batches: shuffles the rows, sorts windows of [`BUCKET`] batches by length,
/// cuts them into batches and shuffles these.
pub fn batches<'a>(examples: &[&'a Example], batch_size: usize, rng: &mut impl Rng) -> Vec<Vec<&'a Example>> {
    let mut order = examples.to_vec();
    order.shuffle(rng);
    let mut batches = Vec::with_capacity(order.len().div_ceil(batch_size));
    for window in order.chunks_mut(batch_size * BUCKET) {
        window.sort_by_key(|example| example.ids.len());
        batches.extend(window.chunks(batch_size).map(<[_]>::to_vec));
    }
    batches.shuffle(rng);
    batches
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn example(id: usize, length: usize) -> Example {
        let ids = vec![7; length];
        let id = id.to_string();
        let image = None;
        let crops = vec![];
        Example { id, ids, anchors: vec![0], gold: vec![0], original: vec![0], words: 1, owner: None, image, crops }
    }

    #[test]
    fn an_epoch_holds_every_row_once_and_pads_little() {
        let rows: Vec<_> = (0..203).map(|id| example(id, 4 + (id * 37) % 60)).collect();
        let mut rng = crate::seed::generator(1, "shuffle", 0);
        let epoch = batches(&rows.iter().collect::<Vec<_>>(), 8, &mut rng);
        let mut ids: Vec<usize> = epoch.iter().flatten().map(|row| row.id.parse().unwrap()).collect();
        ids.sort_unstable();
        assert_eq!(ids, (0..203).collect::<Vec<_>>());
        let padded: usize =
            epoch.iter().map(|batch| batch.len() * batch.iter().map(|row| row.ids.len()).max().unwrap()).sum();
        let real: usize = rows.iter().map(|row| row.ids.len()).sum();
        assert!(padded < real * 5 / 4, "{padded} pieces padded from {real}");
    }

    #[test]
    fn a_batch_is_padded_to_its_longest_row() {
        let short = example(0, 2);
        let long = example(1, 3);
        let batch = Batch::new(vec![&short, &long], 9, &Device::Cpu).unwrap();
        assert_eq!(batch.ids.tensor().to_vec2::<u32>().unwrap(), [[7, 7, 9], [7, 7, 7]]);
        assert_eq!(batch.mask.to_vec2::<u32>().unwrap(), [[1, 1, 0], [1, 1, 1]]);
    }
}
