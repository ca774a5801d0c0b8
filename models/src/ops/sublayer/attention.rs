//! Attention: F = merged heads of drop(P) V, P = softmax(Q Kᵀ/√d + padding), of Q, K, V = x Wᵀ + b.
//!
//! Kept: Q, K, V and F, `[M, H]` each, and P, `[B, heads, T, T]`. Backward, per row and head, with D = drop(P):
//! dV = Dᵀ dF, dP = drop(dF Vᵀ), dS = P ⊙ (dP - Σ P dP)/√d, dQ = dS K, dK = dSᵀ Q. Rows of a batch are independent and
//! go to the threads.

use candle_core::{Result, Tensor};

use super::super::dropout::Mask;
use super::super::gemm::{Matrix, write_product};
use super::super::linear::add_bias;
use super::super::softmax::{softmax_gradients, softmax_rows};
use super::super::{Host, run};
use super::{Inner, bias_of, linear_gradients, linear_product};
use crate::linear::Linear;

/// Projections and what shapes the maps.
pub(crate) struct AttentionParts {
    pub query: Linear,
    pub key: Linear,
    pub value: Linear,
    pub heads: usize,
    /// `B`.
    pub rows: usize,
    /// Added to the logits, `[B, 1, 1, T]`.
    pub padding: Option<Tensor>,
    /// Dropout of maps.
    pub mask: Option<Mask>,
}

pub(crate) struct Kept {
    query: Vec<f32>,
    key: Vec<f32>,
    value: Vec<f32>,
    maps: Vec<f32>,
    context: Vec<f32>,
}

/// Sizes of one row of the batch.
#[derive(Clone, Copy)]
struct Sizes {
    /// `T`.
    length: usize,
    /// `H`.
    width: usize,
    heads: usize,
}

impl Sizes {
    /// d.
    fn head(self) -> usize {
        self.width / self.heads
    }

    fn scale(self) -> f32 {
        (self.head() as f32).sqrt().recip()
    }

    /// Values of a head's map.
    fn map(self) -> usize {
        self.length * self.length
    }

    /// A head's columns of `[T, H]`.
    fn of(self, head: usize, x: &[f32]) -> Matrix<'_> {
        Matrix::strided(&x[head * self.head()..], self.length, self.head(), self.width)
    }
}

impl AttentionParts {
    fn sizes(&self, values: usize) -> Result<Sizes> {
        let width = self.query.weight().dim(0)?;
        Ok(Sizes { length: values / self.rows / width, width, heads: self.heads })
    }

    /// The maps as they meet the values: dropped if there is dropout. `start` is the first element's index.
    fn dropped<'a>(&self, map: &'a [f32], start: usize, scratch: &'a mut Vec<f32>) -> &'a [f32] {
        let Some(mask) = self.mask else { return map };
        scratch.clear();
        scratch.extend_from_slice(map);
        mask.apply(start, scratch);
        scratch
    }

    /// Maps and context of row `row`.
    fn mix(&self, sizes: Sizes, row: usize, [q, k, v]: [&[f32]; 3], padding: &[f32], maps: &mut [f32], f: &mut [f32]) {
        let mut scratch = Vec::new();
        for (head, map) in maps.chunks_exact_mut(sizes.map()).enumerate() {
            write_product(map, sizes.length, sizes.scale(), sizes.of(head, q), sizes.of(head, k).t());
            softmax_rows(map, sizes.length, padding);
            let start = (row * sizes.heads + head) * sizes.map();
            let dropped = Matrix::new(self.dropped(map, start, &mut scratch), sizes.length);
            write_product(&mut f[head * sizes.head()..], sizes.width, 1.0, dropped, sizes.of(head, v));
        }
    }

    /// dQ, dK, dV of row `row` in place of Q, K, V.
    fn unmix(&self, sizes: Sizes, row: usize, [q, k, v]: [&mut [f32]; 3], maps: &[f32], grad: &[f32]) {
        let (mut scratch, mut ds) = (Vec::new(), vec![0.0; sizes.map()]);
        let [mut dq, mut dk, mut dv] = [(); 3].map(|()| vec![0.0; q.len()]);
        for (head, map) in maps.chunks_exact(sizes.map()).enumerate() {
            let start = (row * sizes.heads + head) * sizes.map();
            let (columns, df) = (head * sizes.head(), sizes.of(head, grad));
            let dropped = Matrix::new(self.dropped(map, start, &mut scratch), sizes.length);
            write_product(&mut dv[columns..], sizes.width, 1.0, dropped.t(), df);
            write_product(&mut ds, sizes.length, 1.0, df, sizes.of(head, v).t());
            if let Some(mask) = self.mask {
                mask.apply(start, &mut ds);
            }
            softmax_gradients(&mut ds, map, sizes.length);
            let ds = Matrix::new(&ds, sizes.length);
            write_product(&mut dq[columns..], sizes.width, sizes.scale(), ds, sizes.of(head, k));
            write_product(&mut dk[columns..], sizes.width, sizes.scale(), ds.t(), sizes.of(head, q));
        }
        for (old, new) in [(q, dq), (k, dk), (v, dv)] {
            old.copy_from_slice(&new);
        }
    }
}

/// x Wᵀ + b.
fn projected(layer: &Linear, x: &[f32]) -> Result<Vec<f32>> {
    let mut y = linear_product(layer, x)?;
    add_bias(&mut y, &bias_of(layer)?);
    Ok(y)
}

impl Inner for AttentionParts {
    type Kept = Kept;

    fn forward(&self, x: &[f32]) -> Result<(Vec<f32>, Kept)> {
        let sizes = self.sizes(x.len())?;
        let (query, key, value) = (projected(&self.query, x)?, projected(&self.key, x)?, projected(&self.value, x)?);
        let none = vec![0.0; self.rows * sizes.length];
        let padding = self.padding.as_ref().map(Host::new).transpose()?;
        let padding = padding.as_ref().map_or(Ok(none.as_slice()), Host::values)?;
        if padding.len() != none.len() {
            candle_core::bail!("padding of {} positions for {} rows of {}", padding.len(), self.rows, sizes.length);
        }
        let (mut maps, mut f) = (vec![0.0; self.rows * sizes.heads * sizes.map()], vec![0.0; x.len()]);
        let row = sizes.length * sizes.width;
        let inputs = query.chunks(row).zip(key.chunks(row)).zip(value.chunks(row)).zip(padding.chunks(sizes.length));
        let outputs = maps.chunks_mut(sizes.heads * sizes.map()).zip(f.chunks_mut(row));
        run(inputs.zip(outputs).enumerate(), |(row, ((((q, k), v), padding), (maps, f)))| {
            self.mix(sizes, row, [q, k, v], padding, maps, f);
        });
        Ok((f, Kept { query, key, value, maps, context: Vec::new() }))
    }

    fn keep(kept: &mut Kept, f: Vec<f32>) {
        kept.context = f;
    }

    fn rebuild(&self, kept: &mut Kept, grad: &mut [f32]) -> Result<Vec<f32>> {
        let sizes = self.sizes(grad.len())?;
        let (row, maps) = (sizes.length * sizes.width, kept.maps.chunks(sizes.heads * sizes.map()));
        let [q, k, v] = [&mut kept.query, &mut kept.key, &mut kept.value].map(|x| x.chunks_mut(row));
        run(q.zip(k).zip(v).zip(maps).zip(grad.chunks(row)).enumerate(), |(row, ((((q, k), v), maps), grad))| {
            self.unmix(sizes, row, [q, k, v], maps, grad);
        });
        kept.maps = Vec::new();
        Ok(std::mem::take(&mut kept.context))
    }

    fn gradients(&self, x: &[f32], kept: Kept, _: Vec<f32>, dx: Option<Vec<f32>>) -> Result<Vec<f32>> {
        let dx = linear_gradients(&self.query, &kept.query, x, dx)?;
        let dx = linear_gradients(&self.key, &kept.key, x, Some(dx))?;
        linear_gradients(&self.value, &kept.value, x, Some(dx))
    }

    fn layers(&self) -> Vec<&Linear> {
        vec![&self.query, &self.key, &self.value]
    }
}
