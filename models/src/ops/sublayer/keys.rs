//! LMC's learned keys K and their position bias B (arXiv 2305.08698). The logits of T positions are `Q Kᵀ/√d + c B`,
//! with the first T keys, or one for all, and the first T rows and columns of B.
//!
//! Backward, from dS of each row of the batch: dK = Σ dSᵀ Q/√d, dB = c Σ dS. The sums run over the rows in their order.

use candle_core::{DType, Result, Tensor};

use crate::ops::gemm::Matrix;
use crate::ops::layers::SharedKey;
use crate::ops::linear::add_up;
use crate::ops::param_grads::push_grad;
use crate::ops::threads::{PIECE, run};

impl SharedKey {
    /// Returns keys `[1, heads, T or 1, d]` and bias `[1, heads, T, T]` for `T` positions.
    pub fn first(&self, length: usize, dtype: DType) -> Result<(Tensor, Tensor)> {
        self.check(length)?;
        let keys = match self.key.rank() {
            2 => self.key.unsqueeze(1)?,
            _ => self.key.narrow(1, 0, length)?,
        };
        let bias = (self.bias.narrow(1, 0, length)?.narrow(2, 0, length)? * self.bias_scale)?;
        Ok((keys.unsqueeze(0)?.to_dtype(dtype)?, bias.unsqueeze(0)?.to_dtype(dtype)?))
    }

    /// Returns keys and bias for `length` positions in host memory.
    pub(super) fn first_values(&self, length: usize) -> Result<FirstKeys> {
        let (keys, bias) = self.first(length, DType::F32)?;
        let size = keys.dim(3)?;
        let down = if keys.dim(2)? == length { size } else { 0 };
        let values = |x: &Tensor| x.detach().flatten_all()?.to_vec1();
        Ok(FirstKeys { keys: values(&keys)?, bias: values(&bias)?, length, size, down })
    }

    /// Pushes the gradients of key and bias, from dSᵀ Q/√d `[B, T, heads · d]` and dS `[B, heads, T, T]`.
    pub(super) fn push_grads(&self, length: usize, dk: &[f32], ds: &[f32]) -> Result<()> {
        let (heads, longest, _) = self.bias.dims3()?;
        let per_head = self.key.elem_count() / heads;
        let size = per_head / self.keys()?;
        // The gradient of a key for all positions is summed over the positions, too.
        let keys = if self.key.rank() == 2 { 1 } else { length };
        let mut key = vec![0.0; self.key.elem_count()];
        for (n, sum) in sums(dk, keys * heads * size).chunks_exact(size).enumerate() {
            key[n % heads * per_head + n / heads * size..][..size].copy_from_slice(sum);
        }
        push_grad(&self.key, key)?;
        let mut bias = vec![0.0; self.bias.elem_count()];
        let scale = self.bias_scale as f32;
        for (n, sums) in sums(ds, heads * length * length).chunks_exact(length).enumerate() {
            let row = &mut bias[(n / length * longest + n % length) * longest..];
            row.iter_mut().zip(sums).for_each(|(bias, sum)| *bias = scale * sum);
        }
        push_grad(&self.bias, bias)
    }
}

/// Keys and scaled bias of some positions.
pub(super) struct FirstKeys {
    keys: Vec<f32>,
    bias: Vec<f32>,
    /// Number of positions of a row, T.
    length: usize,
    /// Size of a head, d.
    size: usize,
    /// Values from one position's key to the next; 0 if one key serves all positions.
    down: usize,
}

impl FirstKeys {
    /// Returns a head's keys, `[T, d]`.
    pub fn head(&self, head: usize) -> Matrix<'_> {
        let values = if self.down == 0 { self.size } else { self.length * self.size };
        Matrix::strided(&self.keys[head * values..], self.length, self.size, self.down)
    }

    /// Adds the bias to a head's logits, `[T, T]`.
    pub fn add_bias(&self, head: usize, logits: &mut [f32]) {
        add_up(logits, &self.bias[head * logits.len()..][..logits.len()]);
    }
}

/// Returns the column sums of a few rows of `width` values; the columns are spread over the threads.
fn sums(rows: &[f32], width: usize) -> Vec<f32> {
    let mut sums = vec![0.0; width];
    run(sums.chunks_mut(PIECE).enumerate(), |(piece, sums)| {
        rows.chunks_exact(width).for_each(|row| add_up(sums, &row[piece * PIECE..][..sums.len()]));
    });
    sums
}
