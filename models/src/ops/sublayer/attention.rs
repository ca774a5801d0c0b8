//! Attention: F = merged heads of drop(P) V, P = softmax(S + padding), S = Q Kᵀ/√d, of Q, K, V = x Wᵀ + b; with learned
//! keys (`keys`), K is theirs and S includes their position bias. A prefix puts keys and values of another stream before
//! K and V, so that a row has more keys than queries. S, or K, V and F together, become a second result
//! (`crate::ops::side`) if something reads them.
//!
//! Kept: Q, K, V and F, `[M, H]` each (K only where it is projected; K and V with the prefix), and P, `[B, heads, T, S]`.
//! Backward, per row and head, with D = drop(P): dV = Dᵀ dF, dP = drop(dF Vᵀ), dS = P ⊙ (dP - Σ P dP) + ∂L/∂S,
//! dQ = dS K/√d, dK = dSᵀ Q/√d; the gradient of a revealed F is added to dF first, those of revealed K and V to dK and dV
//! last. Rows of a batch are independent and are spread over the threads.

use candle_core::{CpuStorage, Result, Storage};

use super::cpu::{CpuPart, InputGrads, bias_or_zeros, linear_gradients, linear_product};
use super::keys::FirstKeys;
use crate::ops::gemm::{Matrix, write_product};
use crate::ops::host::Host;
use crate::ops::layers::{AttentionPart, Keys, Linear};
use crate::ops::linear::{add_bias, add_up};
use crate::ops::side::side_grad;
use crate::ops::softmax::{softmax_gradients, softmax_rows};
use crate::ops::threads::run;

/// What attention stores for its backward pass.
pub(crate) struct AttentionKept {
    query: Vec<f32>,
    /// K, empty with learned keys.
    key: Vec<f32>,
    value: Vec<f32>,
    maps: Vec<f32>,
    context: Vec<f32>,
}

/// Sizes of one row of the batch.
#[derive(Clone, Copy)]
struct Sizes {
    /// Number of positions of a row, `T`.
    length: usize,
    /// Number of keys of a row: its positions and those of the prefix.
    keys: usize,
    /// Size of a state, `H`.
    width: usize,
    heads: usize,
}

impl Sizes {
    /// Returns the size of a head, d.
    fn head(self) -> usize {
        self.width / self.heads
    }

    fn scale(self) -> f32 {
        (self.head() as f32).sqrt().recip()
    }

    /// Returns the number of values in a head's map.
    fn map(self) -> usize {
        self.length * self.keys
    }

    /// Returns a head's columns of `x`, rows of `H` values.
    fn columns(self, head: usize, x: &[f32]) -> Matrix<'_> {
        Matrix::strided(&x[head * self.head()..], x.len() / self.width, self.head(), self.width)
    }
}

/// Inputs of the maps of one row of the batch; K is empty with learned keys.
struct BatchRow<'a> {
    index: usize,
    qkv: [&'a [f32]; 3],
    padding: &'a [f32],
}

impl AttentionPart {
    fn sizes(&self, values: usize) -> Result<Sizes> {
        let width = self.query.weight().dim(0)?;
        let length = values / self.rows / width;
        Ok(Sizes { length, keys: self.prefix_length()? + length, width, heads: self.heads })
    }

    fn learned(&self, sizes: Sizes) -> Result<Option<FirstKeys>> {
        match &self.keys {
            Keys::Projected(_) => Ok(None),
            Keys::Shared(shared) => shared.first_values(sizes.length).map(Some),
        }
    }

    /// Returns a map with dropout applied, if there is any. `start` is the index of its first element.
    fn dropped<'a>(&self, map: &'a [f32], start: usize, scratch: &'a mut Vec<f32>) -> &'a [f32] {
        let Some(mask) = self.mask else { return map };
        scratch.clear();
        scratch.extend_from_slice(map);
        mask.apply(start, scratch);
        scratch
    }

    /// Writes maps, logits (unless their slice is empty) and context of a row.
    fn attend(
        &self,
        sizes: Sizes,
        learned: Option<&FirstKeys>,
        row: &BatchRow<'_>,
        [maps, logits, f]: [&mut [f32]; 3],
    ) {
        let [q, k, v] = row.qkv;
        let mut scratch = Vec::new();
        let mut logits = logits.chunks_exact_mut(sizes.map());
        for (head, map) in maps.chunks_exact_mut(sizes.map()).enumerate() {
            let keys = learned.map_or_else(|| sizes.columns(head, k), |learned| learned.head(head));
            write_product(map, sizes.keys, sizes.scale(), sizes.columns(head, q), keys.t());
            if let Some(learned) = learned {
                learned.add_bias(head, map);
            }
            if let Some(logits) = logits.next() {
                logits.copy_from_slice(map);
            }
            softmax_rows(map, sizes.keys, row.padding);
            let start = (row.index * sizes.heads + head) * sizes.map();
            let dropped = Matrix::new(self.dropped(map, start, &mut scratch), sizes.keys);
            write_product(&mut f[head * sizes.head()..], sizes.width, 1.0, dropped, sizes.columns(head, v));
        }
    }

    /// Replaces Q, K and V of row `row` by their gradients and, with learned keys, the maps by dS. `grad` and
    /// `logit_grad` are the gradients of F and of the logits; the latter may be empty.
    fn attend_backward(
        &self,
        sizes: Sizes,
        learned: Option<&FirstKeys>,
        row: usize,
        [q, k, v, maps]: [&mut [f32]; 4],
        [grad, logit_grad]: [&[f32]; 2],
    ) {
        let mut scratch = Vec::new();
        let mut ds = vec![0.0; sizes.map()];
        let [mut dq, mut dk, mut dv] = [q.len(), k.len(), v.len()].map(|count| vec![0.0; count]);
        let mut logit_grads = logit_grad.chunks_exact(sizes.map());
        for (head, map) in maps.chunks_exact_mut(sizes.map()).enumerate() {
            let start = (row * sizes.heads + head) * sizes.map();
            let columns = head * sizes.head();
            let df = sizes.columns(head, grad);
            let dropped = Matrix::new(self.dropped(map, start, &mut scratch), sizes.keys);
            write_product(&mut dv[columns..], sizes.width, 1.0, dropped.t(), df);
            write_product(&mut ds, sizes.keys, 1.0, df, sizes.columns(head, v).t());
            if let Some(mask) = self.mask {
                mask.apply(start, &mut ds);
            }
            softmax_gradients(&mut ds, map, sizes.keys);
            if let Some(logit_grad) = logit_grads.next() {
                add_up(&mut ds, logit_grad);
            }
            let keys = learned.map_or_else(|| sizes.columns(head, k), |learned| learned.head(head));
            let map_grad = Matrix::new(&ds, sizes.keys);
            write_product(&mut dq[columns..], sizes.width, sizes.scale(), map_grad, keys);
            write_product(&mut dk[columns..], sizes.width, sizes.scale(), map_grad.t(), sizes.columns(head, q));
            if learned.is_some() {
                map.copy_from_slice(&ds);
            }
        }
        for (old, new) in [(q, dq), (k, dk), (v, dv)] {
            old.copy_from_slice(&new);
        }
    }
}

/// Returns x Wᵀ + b.
fn projected(layer: &Linear, x: &[f32]) -> Result<Vec<f32>> {
    let mut y = linear_product(layer, x)?;
    add_bias(&mut y, &bias_or_zeros(layer)?);
    Ok(y)
}

/// Puts the rows of `before` before those of `own`, for each of `count` rows of a batch.
fn joined(count: usize, before: &[f32], own: &[f32]) -> Vec<f32> {
    let parts = before.chunks_exact(before.len() / count).zip(own.chunks_exact(own.len() / count));
    parts.flat_map(|(before, own)| before.iter().chain(own)).copied().collect()
}

/// Undoes [`joined`]: returns what was `before`, of `size` values for each row of the batch, and the rest.
fn split(count: usize, size: usize, both: &[f32]) -> [Vec<f32>; 2] {
    let each = || both.chunks_exact(both.len() / count);
    [each().flat_map(|both| &both[..size]).copied().collect(), each().flat_map(|both| &both[size..]).copied().collect()]
}

/// Returns part `n` of `x` in parts of `size`, or an empty slice if `x` is empty.
fn part(x: &[f32], n: usize, size: usize) -> &[f32] {
    x.get(n * size..(n + 1) * size).unwrap_or_default()
}

/// Returns parts of `size` values, followed by empty ones without end.
fn parts_mut(x: &mut [f32], size: usize) -> impl Iterator<Item = &mut [f32]> {
    x.chunks_mut(size).chain(std::iter::repeat_with(|| &mut [][..]))
}

impl CpuPart for AttentionPart {
    type Kept = AttentionKept;

    fn forward(&self, x: &[f32]) -> Result<(Vec<f32>, AttentionKept)> {
        let sizes = self.sizes(x.len())?;
        let learned = self.learned(sizes)?;
        let query = projected(&self.query, x)?;
        let mut value = projected(&self.value, x)?;
        let mut key = match &self.keys {
            Keys::Projected(layer) => projected(layer, x)?,
            Keys::Shared(_) => Vec::new(),
        };
        if let Some(prefix) = &self.prefix {
            let prefix = Host::new(prefix)?;
            let (keys, values) = prefix.values()?.split_at(prefix.values()?.len() / 2);
            key = joined(self.rows, keys, &key);
            value = joined(self.rows, values, &value);
        }
        let none = vec![0.0; self.rows * sizes.keys];
        let padding = self.padding.as_ref().map(Host::new).transpose()?;
        let padding = padding.as_ref().map_or(Ok(none.as_slice()), Host::values)?;
        if padding.len() != none.len() {
            candle_core::bail!("padding of {} positions for {} rows of {}", padding.len(), self.rows, sizes.keys);
        }
        let [size, key_size] = [sizes.length, sizes.keys].map(|count| count * sizes.width);
        let map_size = sizes.heads * sizes.map();
        let mut maps = vec![0.0; self.rows * map_size];
        let mut f = vec![0.0; x.len()];
        let mut logits = vec![0.0; if self.logits.is_some() { maps.len() } else { 0 }];
        let outputs = maps.chunks_mut(map_size).zip(f.chunks_mut(size)).zip(parts_mut(&mut logits, map_size));
        run(outputs.enumerate(), |(index, ((maps, f), logits))| {
            let qkv = [part(&query, index, size), part(&key, index, key_size), part(&value, index, key_size)];
            let row = BatchRow { index, qkv, padding: part(padding, index, sizes.keys) };
            self.attend(sizes, learned.as_ref(), &row, [maps, logits, f]);
        });
        if let Some(side) = &self.logits {
            let shape = (self.rows, sizes.heads, sizes.length, sizes.keys);
            side.put(Storage::Cpu(CpuStorage::F32(logits)), shape);
        }
        if let Some(side) = &self.revealed {
            let all = [&key[..], &value, &f].concat();
            side.put(Storage::Cpu(CpuStorage::F32(all)), (3, self.rows, sizes.length, sizes.width));
        }
        Ok((f, AttentionKept { query, key, value, maps, context: Vec::new() }))
    }

    fn keep_output(kept: &mut AttentionKept, f: Vec<f32>) {
        kept.context = f;
    }

    fn rebuild(&self, kept: &mut AttentionKept, grad: &mut [f32]) -> Result<Vec<f32>> {
        let sizes = self.sizes(grad.len())?;
        let learned = self.learned(sizes)?;
        let logit_grad = side_grad(self.logits.as_ref())?;
        let logit_grad = logit_grad.as_ref().map(Host::new).transpose()?;
        let logit_grad = logit_grad.as_ref().map_or(Ok(&[][..]), Host::values)?;
        let revealed_grad = side_grad(self.revealed.as_ref())?;
        let revealed_grad = revealed_grad.as_ref().map(Host::new).transpose()?;
        let revealed_grad = revealed_grad.as_ref().map_or(Ok(&[][..]), Host::values)?;
        let mut of_revealed = revealed_grad.chunks_exact(grad.len());
        let of_keys_and_values = [of_revealed.next(), of_revealed.next()];
        if let Some(of_f) = of_revealed.next() {
            add_up(grad, of_f);
        }
        let [size, key_size] = [sizes.length, sizes.keys].map(|count| count * sizes.width);
        let map_size = sizes.heads * sizes.map();
        // With learned keys, this makes room for each row's part of their gradient.
        kept.key.resize(kept.value.len(), 0.0);
        let q = kept.query.chunks_mut(size);
        let [k, v] = [&mut kept.key, &mut kept.value].map(|x| x.chunks_mut(key_size));
        let rows = q.zip(k).zip(v).zip(kept.maps.chunks_mut(map_size)).zip(grad.chunks(size));
        run(rows.enumerate(), |(row, ((((q, k), v), maps), grad))| {
            let grads = [grad, part(logit_grad, row, map_size)];
            self.attend_backward(sizes, learned.as_ref(), row, [q, k, v, maps], grads);
        });
        if let Keys::Shared(shared) = &self.keys {
            shared.push_grads(sizes.length, &kept.key, &kept.maps)?;
        }
        for (own, of_revealed) in [&mut kept.key, &mut kept.value].into_iter().zip(of_keys_and_values) {
            add_up(own, of_revealed.unwrap_or_default());
        }
        kept.maps = Vec::new();
        Ok(std::mem::take(&mut kept.context))
    }

    fn gradients(&self, x: &[f32], mut kept: AttentionKept, _: Vec<f32>, dx: Option<Vec<f32>>) -> Result<InputGrads> {
        let second = self.prefix.as_ref().map(|prefix| {
            let size = prefix.elem_count() / 2 / self.rows;
            let [keys, values] = [&mut kept.key, &mut kept.value].map(|both| {
                let [before, own] = split(self.rows, size, both);
                *both = own;
                before
            });
            [keys, values].concat()
        });
        let mut dx = linear_gradients(&self.query, &kept.query, x, dx)?;
        if let Keys::Projected(key) = &self.keys {
            dx = linear_gradients(key, &kept.key, x, Some(dx))?;
        }
        let x = linear_gradients(&self.value, &kept.value, x, Some(dx))?;
        Ok(InputGrads { x, second })
    }
}
