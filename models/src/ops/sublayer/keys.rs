//! Where attention takes its keys from: a projection of its input, or LMC's learned keys K (arXiv 2305.08698), which
//! come with a position bias B. The logits of T positions are then `Q Kᵀ/√d + c B`, of the first T keys, or one for all,
//! and of the first T rows and columns of B.
//!
//! Backward, from dS of each row of the batch: dK = Σ dSᵀ Q/√d, dB = c Σ dS. The sums run over the rows in their order.

use candle_core::{DType, Result, Tensor};

use super::super::gemm::Matrix;
use super::super::linear::add_up;
use super::super::{PIECE, leaves, run};
use crate::linear::Linear;

/// A learned key and the stream's position bias.
#[derive(Clone)]
pub(crate) struct SharedKey {
    /// A key for each position, `[heads, N, d]`, or one for all, `[heads, d]`.
    pub key: Tensor,
    /// `[heads, L, L]`.
    pub bias: Tensor,
    /// Factor c of the bias.
    pub bias_scale: f64,
}

/// Where a layer's keys come from.
#[derive(Clone)]
pub(crate) enum Keys {
    /// A projection of its input.
    Own(Linear),
    Shared(SharedKey),
}

impl SharedKey {
    /// N, or 1 of a key for all positions.
    pub fn keys(&self) -> Result<usize> {
        if self.key.rank() == 2 { Ok(1) } else { self.key.dim(1) }
    }

    /// Refuses more positions than there are.
    pub fn check(&self, length: usize) -> Result<()> {
        let longest = self.bias.dim(1)?;
        if length > longest {
            candle_core::bail!("{length} positions, but the position bias has {longest}; raise max_text");
        }
        if self.key.rank() == 3 && length > self.keys()? {
            candle_core::bail!("{length} positions, but only {} shared keys; raise max_text", self.keys()?);
        }
        Ok(())
    }

    /// Keys `[1, heads, T or 1, d]` and bias `[1, heads, T, T]` for `T` positions.
    pub fn first(&self, length: usize, dtype: DType) -> Result<(Tensor, Tensor)> {
        self.check(length)?;
        let keys = match self.key.rank() {
            2 => self.key.unsqueeze(1)?,
            _ => self.key.narrow(1, 0, length)?,
        };
        let bias = (self.bias.narrow(1, 0, length)?.narrow(2, 0, length)? * self.bias_scale)?;
        Ok((keys.unsqueeze(0)?.to_dtype(dtype)?, bias.unsqueeze(0)?.to_dtype(dtype)?))
    }

    /// The same in host memory.
    pub(super) fn first_values(&self, length: usize) -> Result<FirstKeys> {
        let (keys, bias) = self.first(length, DType::F32)?;
        let (size, down) = (keys.dim(3)?, if keys.dim(2)? == length { keys.dim(3)? } else { 0 });
        let values = |x: &Tensor| x.detach().flatten_all()?.to_vec1();
        Ok(FirstKeys { keys: values(&keys)?, bias: values(&bias)?, length, size, down })
    }

    /// Hands over the gradients of key and bias, from dSᵀ Q/√d `[B, T, heads · d]` and dS `[B, heads, T, T]`.
    pub(super) fn hand_over(&self, length: usize, dk: &[f32], ds: &[f32]) -> Result<()> {
        let (heads, longest, _) = self.bias.dims3()?;
        let (per_head, size) = (self.key.elem_count() / heads, self.key.elem_count() / heads / self.keys()?);
        // A key for all positions is the sum over the positions too.
        let keys = if self.key.rank() == 2 { 1 } else { length };
        let mut key = vec![0.0; self.key.elem_count()];
        for (n, sum) in sums(dk, keys * heads * size).chunks_exact(size).enumerate() {
            key[n % heads * per_head + n / heads * size..][..size].copy_from_slice(sum);
        }
        leaves::keep(&self.key, key)?;
        let (mut bias, scale) = (vec![0.0; self.bias.elem_count()], self.bias_scale as f32);
        for (n, sums) in sums(ds, heads * length * length).chunks_exact(length).enumerate() {
            let row = &mut bias[(n / length * longest + n % length) * longest..];
            row.iter_mut().zip(sums).for_each(|(bias, sum)| *bias = scale * sum);
        }
        leaves::keep(&self.bias, bias)
    }
}

/// Keys and scaled bias of some positions.
pub(super) struct FirstKeys {
    keys: Vec<f32>,
    bias: Vec<f32>,
    /// T.
    length: usize,
    /// d.
    size: usize,
    /// Values from one position's key to the next.
    down: usize,
}

impl FirstKeys {
    /// A head's keys, `[T, d]`.
    pub fn of(&self, head: usize) -> Matrix<'_> {
        let values = if self.down == 0 { self.size } else { self.length * self.size };
        Matrix::strided(&self.keys[head * values..], self.length, self.size, self.down)
    }

    /// Adds the bias to a head's logits, `[T, T]`.
    pub fn add_bias(&self, head: usize, logits: &mut [f32]) {
        add_up(logits, &self.bias[head * logits.len()..][..logits.len()]);
    }
}

/// Sums of the columns of few rows of `width` values; the columns go to the threads.
fn sums(rows: &[f32], width: usize) -> Vec<f32> {
    let mut sums = vec![0.0; width];
    run(sums.chunks_mut(PIECE).enumerate(), |(piece, sums)| {
        rows.chunks_exact(width).for_each(|row| add_up(sums, &row[piece * PIECE..][..sums.len()]));
    });
    sums
}
