//! The scores of a linear chain over `L` tags, as plain data that the operations on both devices read.

use candle_core::{Result, Tensor, bail};

/// The tag of a word whose tag is not known.
pub const UNKNOWN: u32 = u32::MAX;

/// The scores of a chain over `L` tags.
#[derive(Debug, Clone)]
pub struct Chain {
    /// Scores of starting with a tag, `[L]`.
    pub start: Tensor,
    /// Scores of ending with a tag, `[L]`.
    pub end: Tensor,
    /// Scores of moving from a tag (row) to a tag (column), `[L, L]`.
    pub transitions: Tensor,
}

impl Chain {
    /// Returns rows, words and tags of a batch of `emissions` `[B, W, L]` whose rows have `lengths` words.
    ///
    /// # Errors
    /// The emissions do not match the chain, or the lengths do not match the emissions.
    pub(super) fn sizes(&self, emissions: &Tensor, lengths: &[usize]) -> Result<(usize, usize, usize)> {
        let (rows, words, labels) = emissions.dims3()?;
        let lines = [&self.start, &self.end].into_iter().all(|scores| scores.dims() == [labels]);
        if !lines || self.transitions.dims() != [labels, labels] || words * labels == 0 {
            bail!("emissions {:?} do not fit transitions {:?}", emissions.shape(), self.transitions.shape());
        }
        if lengths.len() != rows || lengths.iter().any(|length| *length > words) {
            bail!("emissions {:?} do not fit rows of {lengths:?} words", emissions.shape());
        }
        Ok((rows, words, labels))
    }
}
