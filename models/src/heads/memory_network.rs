//! The attention memory network of RP-CRE (Cui et al., ACL 2021, "Refining Sample Embeddings with Relation Prototypes
//! to Enhance Continual Relation Extraction", section 3.4): a feature attends to the prototypes of all classes.
//!
//! ```text
//! S = [P_1 .. P_R ; x]
//! Q, K, V = norm(S W + b), each normalised jointly over (heads, size of a head)
//! C = inner_norm(output(softmax(Q Kᵀ / √k) V)),  A = attention_norm(C + S)
//! O = output_norm(gelu(dense(A)) + A);           the refined feature is the last row of O
//! ```
//! Only the last row of O is used, and only the attention mixes rows. So only `x` needs a query, and all rows of a
//! batch share the keys and values of the prototypes, which gives the same result without (R+1)² maps per row.

use candle_core::{D, Result, Tensor};
use candle_nn::VarBuilder;

use crate::init::uniform_linear;
use crate::ops::{self, LayerNorm, Linear};

/// Number of attention heads, as published.
const HEADS: usize = 4;
/// Added to variances in layer norms.
const EPS: f64 = 1e-5;

/// A linear map to `HEADS` vectors and their joint layer norm.
struct Projection {
    linear: Linear,
    norm: LayerNorm,
    size: usize,
}

impl Projection {
    fn new(hidden: usize, size: usize, name: &str, vb: &VarBuilder<'_>) -> Result<Self> {
        let linear = uniform_linear(hidden, HEADS * size, true, &vb.pp(name))?;
        Ok(Self { linear, norm: LayerNorm::new((HEADS, size), EPS, vb.pp(format!("{name}_norm")))?, size })
    }

    /// Maps rows `[M, H]` to `[heads, M, size]`.
    fn forward(&self, rows: &Tensor) -> Result<Tensor> {
        let flat = self.norm.forward(&self.linear.forward(rows)?)?;
        flat.reshape((rows.dim(0)?, HEADS, self.size))?.transpose(0, 1)?.contiguous()
    }
}

/// An attention memory network, with the variables `query`, `key`, `value` and their `*_norm`, `output`, `inner_norm`,
/// `attention_norm`, `dense` and `output_norm`.
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
    /// Creates a network on features of size `hidden`. Queries and keys have `key_size` values per head, values have
    /// `hidden`.
    ///
    /// # Errors
    /// Stored tensors have other shapes.
    pub fn new(hidden: usize, key_size: usize, vb: VarBuilder<'_>) -> Result<Self> {
        let norm = |name: &str| LayerNorm::new(hidden, EPS, vb.pp(name));
        Ok(Self {
            query: Projection::new(hidden, key_size, "query", &vb)?,
            key: Projection::new(hidden, key_size, "key", &vb)?,
            value: Projection::new(hidden, hidden, "value", &vb)?,
            output: uniform_linear(HEADS * hidden, hidden, true, &vb.pp("output"))?,
            inner_norm: norm("inner_norm")?,
            attention_norm: norm("attention_norm")?,
            dense: uniform_linear(hidden, hidden, true, &vb.pp("dense"))?,
            output_norm: norm("output_norm")?,
            scale: (key_size as f64).sqrt().recip(),
        })
    }

    /// Returns refined features `[N, H]` of features `x` `[N, H]`, given prototypes `[R, H]`. With `R` = 0, each
    /// feature attends to itself alone.
    ///
    /// # Errors
    /// The shapes do not match.
    pub fn forward(&self, x: &Tensor, prototypes: &Tensor) -> Result<Tensor> {
        let mixed = self.attend(x, (prototypes.dim(0)? > 0).then_some(prototypes))?;
        let mixed = self.inner_norm.forward(&self.output.forward(&mixed)?)?;
        let attended = self.attention_norm.forward(&(mixed + x)?)?;
        self.output_norm.forward(&(ops::gelu_erf(&self.dense.forward(&attended)?)? + attended)?)
    }

    /// Returns the attended values with heads concatenated, `[N, heads·H]`.
    fn attend(&self, x: &Tensor, prototypes: Option<&Tensor>) -> Result<Tensor> {
        let value = self.value.forward(x)?;
        let mixed = match prototypes {
            // Attention to a single row has weight 1.
            None => value,
            Some(prototypes) => {
                let query = (self.query.forward(x)? * self.scale)?;
                let keys = self.key.forward(prototypes)?.transpose(1, 2)?.contiguous()?;
                let self_score = (&query * self.key.forward(x)?)?.sum_keepdim(D::Minus1)?;
                let map = ops::softmax(&Tensor::cat(&[query.matmul(&keys)?, self_score], 2)?)?;
                let classes = prototypes.dim(0)?;
                let class_values = self.value.forward(prototypes)?;
                let class_part = map.narrow(2, 0, classes)?.contiguous()?.matmul(&class_values)?;
                (class_part + value.broadcast_mul(&map.narrow(2, classes, 1)?)?)?
            }
        };
        mixed.transpose(0, 1)?.contiguous()?.flatten_from(1)
    }
}
