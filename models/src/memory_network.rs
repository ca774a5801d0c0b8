//! The attention memory network of RP-CRE (Cui et al., ACL 2021, "Refining Sample Embeddings with Relation Prototypes
//! to Enhance Continual Relation Extraction", section 3.4): a feature attends to the prototypes of all classes.
//!
//! ```text
//! S = [P_1 .. P_R ; x]
//! Q, K, V = norm(S W + b), each normalised jointly over (heads, size of a head)
//! C = inner_norm(output(softmax(Q Kᵀ / √k) V)),  A = attention_norm(C + S)
//! O = output_norm(gelu(dense(A)) + A);           the refined feature is the last row of O
//! ```
//! Only the last row of O is used and no step but the attention mixes rows, so only `x` needs a query, and keys and
//! values of the prototypes are those of every row of a batch: the same result without the (R+1)² maps per row.

use candle_core::{D, Result, Tensor};
use candle_nn::VarBuilder;

use crate::heads::linear;
use crate::linear::Linear;
use crate::norm::LayerNorm;
use crate::ops;

/// Attention heads, as published.
const HEADS: usize = 4;
const EPS: f64 = 1e-5;

/// A linear map to `HEADS` vectors and their joint layer norm.
struct Projection {
    linear: Linear,
    norm: LayerNorm,
    size: usize,
}

impl Projection {
    fn new(hidden: usize, size: usize, name: &str, vb: &VarBuilder<'_>) -> Result<Self> {
        let linear = linear(hidden, HEADS * size, true, &vb.pp(name))?;
        Ok(Self { linear, norm: LayerNorm::new((HEADS, size), EPS, vb.pp(format!("{name}_norm")))?, size })
    }

    /// `[M, H]` to `[heads, M, size]`.
    fn forward(&self, rows: &Tensor) -> Result<Tensor> {
        let flat = self.norm.forward(&self.linear.forward(rows)?)?;
        flat.reshape((rows.dim(0)?, HEADS, self.size))?.transpose(0, 1)?.contiguous()
    }
}

/// Variables `query`, `key`, `value` and their `*_norm`, `output`, `inner_norm`, `attention_norm`, `dense`,
/// `output_norm`.
pub struct MemoryNetwork {
    query: Projection,
    key: Projection,
    value: Projection,
    output: Linear,
    inner_norm: LayerNorm,
    attention_norm: LayerNorm,
    dense: Linear,
    output_norm: LayerNorm,
    scale: f64,
}

impl MemoryNetwork {
    /// A network on features of size `hidden`; queries and keys have `key_size` values per head, values `hidden`.
    ///
    /// # Errors
    /// Stored tensors of other shapes.
    pub fn new(hidden: usize, key_size: usize, vb: VarBuilder<'_>) -> Result<Self> {
        let norm = |name: &str| LayerNorm::new(hidden, EPS, vb.pp(name));
        Ok(Self {
            query: Projection::new(hidden, key_size, "query", &vb)?,
            key: Projection::new(hidden, key_size, "key", &vb)?,
            value: Projection::new(hidden, hidden, "value", &vb)?,
            output: linear(HEADS * hidden, hidden, true, &vb.pp("output"))?,
            inner_norm: norm("inner_norm")?,
            attention_norm: norm("attention_norm")?,
            dense: linear(hidden, hidden, true, &vb.pp("dense"))?,
            output_norm: norm("output_norm")?,
            scale: (key_size as f64).sqrt().recip(),
        })
    }

    /// Refined features `[N, H]` of features `x` `[N, H]` beside prototypes `[R, H]`; with `R` = 0 each feature attends
    /// to itself alone.
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn forward(&self, x: &Tensor, prototypes: &Tensor) -> Result<Tensor> {
        let mixed = self.attend(x, (prototypes.dim(0)? > 0).then_some(prototypes))?;
        let mixed = self.inner_norm.forward(&self.output.forward(&mixed)?)?;
        let attended = self.attention_norm.forward(&(mixed + x)?)?;
        self.output_norm.forward(&(ops::gelu_erf(&self.dense.forward(&attended)?)? + attended)?)
    }

    /// Heads concatenated, `[N, heads·H]`.
    fn attend(&self, x: &Tensor, prototypes: Option<&Tensor>) -> Result<Tensor> {
        let value = self.value.forward(x)?;
        let mixed = match prototypes {
            // The only weight is 1.
            None => value,
            Some(prototypes) => {
                let query = (self.query.forward(x)? * self.scale)?;
                let keys = self.key.forward(prototypes)?.transpose(1, 2)?.contiguous()?;
                let own = (&query * self.key.forward(x)?)?.sum_keepdim(D::Minus1)?;
                let map = ops::softmax(&Tensor::cat(&[query.matmul(&keys)?, own], 2)?)?;
                let classes = prototypes.dim(0)?;
                let of_classes = map.narrow(2, 0, classes)?.contiguous()?.matmul(&self.value.forward(prototypes)?)?;
                (of_classes + value.broadcast_mul(&map.narrow(2, classes, 1)?)?)?
            }
        };
        mixed.transpose(0, 1)?.contiguous()?.flatten_from(1)
    }
}
