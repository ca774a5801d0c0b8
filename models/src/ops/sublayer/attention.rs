//! Attention: F = merged heads of drop(P) V, P = softmax(S + padding), S = Q Kᵀ/√d, of Q, K, V = x Wᵀ + b; with learned
//! keys (`keys`), K is theirs and S has their position bias. Whoever reads the logits gets S as a second result (`side`).
//!
//! Kept: Q, K, V and F, `[M, H]` each (K only where it is projected), and P, `[B, heads, T, T]`. Backward, per row and
//! head, with D = drop(P): dV = Dᵀ dF, dP = drop(dF Vᵀ), dS = P ⊙ (dP - Σ P dP) + ∂L/∂S, dQ = dS K/√d, dK = dSᵀ Q/√d.
//! Rows of a batch are independent and go to the threads.

use candle_core::{CpuStorage, Result, Storage, Tensor};

use super::super::dropout::Mask;
use super::super::gemm::{Matrix, write_product};
use super::super::linear::{add_bias, add_up};
use super::super::softmax::{softmax_gradients, softmax_rows};
use super::super::{Host, run};
use super::keys::{FirstKeys, Keys};
use super::side::Side;
use super::{Gradients, Inner, bias_of, linear_gradients, linear_product};
use crate::linear::Linear;

/// Projections and what shapes the maps.
pub(crate) struct AttentionParts {
    pub query: Linear,
    pub keys: Keys,
    pub value: Linear,
    pub heads: usize,
    /// `B`.
    pub rows: usize,
    /// Added to the logits, `[B, 1, 1, T]`.
    pub padding: Option<Tensor>,
    /// Dropout of maps.
    pub mask: Option<Mask>,
    /// Takes the logits, `[B, heads, T, T]`, before padding and softmax, if somebody reads them.
    pub logits: Option<Side>,
}

pub(crate) struct Kept {
    query: Vec<f32>,
    /// Empty with learned keys.
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

/// Inputs of a row's maps; K is empty with learned keys.
struct Row<'a> {
    index: usize,
    qkv: [&'a [f32]; 3],
    padding: &'a [f32],
}

impl AttentionParts {
    fn sizes(&self, values: usize) -> Result<Sizes> {
        let width = self.query.weight().dim(0)?;
        Ok(Sizes { length: values / self.rows / width, width, heads: self.heads })
    }

    fn learned(&self, sizes: Sizes) -> Result<Option<FirstKeys>> {
        match &self.keys {
            Keys::Own(_) => Ok(None),
            Keys::Shared(shared) => shared.first_values(sizes.length).map(Some),
        }
    }

    /// The maps as they meet the values: dropped if there is dropout. `start` is the first element's index.
    fn dropped<'a>(&self, map: &'a [f32], start: usize, scratch: &'a mut Vec<f32>) -> &'a [f32] {
        let Some(mask) = self.mask else { return map };
        scratch.clear();
        scratch.extend_from_slice(map);
        mask.apply(start, scratch);
        scratch
    }

    /// Maps, logits (unless there is no room for them) and context of a row.
    fn mix(&self, sizes: Sizes, learned: Option<&FirstKeys>, row: &Row<'_>, [maps, logits, f]: [&mut [f32]; 3]) {
        let ([q, k, v], mut scratch) = (row.qkv, Vec::new());
        let mut logits = logits.chunks_exact_mut(sizes.map());
        for (head, map) in maps.chunks_exact_mut(sizes.map()).enumerate() {
            let keys = learned.map_or_else(|| sizes.of(head, k), |learned| learned.of(head));
            write_product(map, sizes.length, sizes.scale(), sizes.of(head, q), keys.t());
            if let Some(learned) = learned {
                learned.add_bias(head, map);
            }
            if let Some(logits) = logits.next() {
                logits.copy_from_slice(map);
            }
            softmax_rows(map, sizes.length, row.padding);
            let start = (row.index * sizes.heads + head) * sizes.map();
            let dropped = Matrix::new(self.dropped(map, start, &mut scratch), sizes.length);
            write_product(&mut f[head * sizes.head()..], sizes.width, 1.0, dropped, sizes.of(head, v));
        }
    }

    /// dQ, dK, dV of row `row` in place of Q, K, V, and, with learned keys, dS in place of the maps. The last two are those of F and of the
    /// logits; the latter may be empty.
    fn unmix(
        &self,
        sizes: Sizes,
        learned: Option<&FirstKeys>,
        row: usize,
        [q, k, v, maps]: [&mut [f32]; 4],
        [grad, of_logits]: [&[f32]; 2],
    ) {
        let (mut scratch, mut ds) = (Vec::new(), vec![0.0; sizes.map()]);
        let [mut dq, mut dk, mut dv] = [(); 3].map(|()| vec![0.0; q.len()]);
        let mut of_logits = of_logits.chunks_exact(sizes.map());
        for (head, map) in maps.chunks_exact_mut(sizes.map()).enumerate() {
            let start = (row * sizes.heads + head) * sizes.map();
            let (columns, df) = (head * sizes.head(), sizes.of(head, grad));
            let dropped = Matrix::new(self.dropped(map, start, &mut scratch), sizes.length);
            write_product(&mut dv[columns..], sizes.width, 1.0, dropped.t(), df);
            write_product(&mut ds, sizes.length, 1.0, df, sizes.of(head, v).t());
            if let Some(mask) = self.mask {
                mask.apply(start, &mut ds);
            }
            softmax_gradients(&mut ds, map, sizes.length);
            if let Some(of_logits) = of_logits.next() {
                add_up(&mut ds, of_logits);
            }
            let keys = learned.map_or_else(|| sizes.of(head, k), |learned| learned.of(head));
            let of_map = Matrix::new(&ds, sizes.length);
            write_product(&mut dq[columns..], sizes.width, sizes.scale(), of_map, keys);
            write_product(&mut dk[columns..], sizes.width, sizes.scale(), of_map.t(), sizes.of(head, q));
            if learned.is_some() {
                map.copy_from_slice(&ds);
            }
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

/// Part `n` of values in parts of `size`; an empty one if there are no values.
fn part(x: &[f32], n: usize, size: usize) -> &[f32] {
    x.get(n * size..(n + 1) * size).unwrap_or_default()
}

/// Parts of `size` values, and then empty ones for ever.
fn parts_mut(x: &mut [f32], size: usize) -> impl Iterator<Item = &mut [f32]> {
    x.chunks_mut(size).chain(std::iter::repeat_with(|| &mut [][..]))
}

impl Inner for AttentionParts {
    type Kept = Kept;

    fn forward(&self, x: &[f32]) -> Result<(Vec<f32>, Kept)> {
        let sizes = self.sizes(x.len())?;
        let learned = self.learned(sizes)?;
        let (query, value) = (projected(&self.query, x)?, projected(&self.value, x)?);
        let key = match &self.keys {
            Keys::Own(layer) => projected(layer, x)?,
            Keys::Shared(_) => Vec::new(),
        };
        let none = vec![0.0; self.rows * sizes.length];
        let padding = self.padding.as_ref().map(Host::new).transpose()?;
        let padding = padding.as_ref().map_or(Ok(none.as_slice()), Host::values)?;
        if padding.len() != none.len() {
            candle_core::bail!("padding of {} positions for {} rows of {}", padding.len(), self.rows, sizes.length);
        }
        let (size, map_size) = (sizes.length * sizes.width, sizes.heads * sizes.map());
        let (mut maps, mut f) = (vec![0.0; self.rows * map_size], vec![0.0; x.len()]);
        let mut logits = vec![0.0; if self.logits.is_some() { maps.len() } else { 0 }];
        let outputs = maps.chunks_mut(map_size).zip(f.chunks_mut(size)).zip(parts_mut(&mut logits, map_size));
        run(outputs.enumerate(), |(index, ((maps, f), logits))| {
            let qkv = [&query, &key, &value].map(|x| part(x, index, size));
            let row = Row { index, qkv, padding: part(padding, index, sizes.length) };
            self.mix(sizes, learned.as_ref(), &row, [maps, logits, f]);
        });
        if let Some(side) = &self.logits {
            let shape = (self.rows, sizes.heads, sizes.length, sizes.length);
            side.put(Storage::Cpu(CpuStorage::F32(logits)), shape);
        }
        Ok((f, Kept { query, key, value, maps, context: Vec::new() }))
    }

    fn keep(kept: &mut Kept, f: Vec<f32>) {
        kept.context = f;
    }

    fn rebuild(&self, kept: &mut Kept, grad: &mut [f32]) -> Result<Vec<f32>> {
        let sizes = self.sizes(grad.len())?;
        let learned = self.learned(sizes)?;
        let of_logits = self.logits.as_ref().map(Side::grad).transpose()?.flatten();
        let of_logits = of_logits.as_ref().map(Host::new).transpose()?;
        let of_logits = of_logits.as_ref().map_or(Ok(&[][..]), Host::values)?;
        let (size, map_size) = (sizes.length * sizes.width, sizes.heads * sizes.map());
        // With learned keys, room for each row's part of their gradient.
        kept.key.resize(grad.len(), 0.0);
        let [q, k, v] = [&mut kept.query, &mut kept.key, &mut kept.value].map(|x| x.chunks_mut(size));
        let rows = q.zip(k).zip(v).zip(kept.maps.chunks_mut(map_size)).zip(grad.chunks(size));
        run(rows.enumerate(), |(row, ((((q, k), v), maps), grad))| {
            let grads = [grad, part(of_logits, row, map_size)];
            self.unmix(sizes, learned.as_ref(), row, [q, k, v, maps], grads);
        });
        if let Keys::Shared(shared) = &self.keys {
            shared.hand_over(sizes.length, &kept.key, &kept.maps)?;
        }
        kept.maps = Vec::new();
        Ok(std::mem::take(&mut kept.context))
    }

    fn gradients(&self, x: &[f32], kept: Kept, _: Vec<f32>, dx: Option<Vec<f32>>) -> Result<Gradients> {
        let mut dx = linear_gradients(&self.query, &kept.query, x, dx)?;
        if let Keys::Own(key) = &self.keys {
            dx = linear_gradients(key, &kept.key, x, Some(dx))?;
        }
        let x = linear_gradients(&self.value, &kept.value, x, Some(dx))?;
        Ok(Gradients { x, second: None })
    }

    fn layers(&self) -> Vec<&Linear> {
        match &self.keys {
            Keys::Own(key) => vec![&self.query, key, &self.value],
            Keys::Shared(_) => vec![&self.query, &self.value],
        }
    }

    fn variables(&self) -> Vec<&Tensor> {
        match &self.keys {
            Keys::Own(_) => Vec::new(),
            Keys::Shared(shared) => vec![&shared.key, &shared.bias],
        }
    }
}
