//! Variables and settings of layers, as plain data: what the operations on both devices read, without computing
//! anything.

use candle_core::{Result, Shape, Tensor};
use candle_nn::{Init, VarBuilder};

use super::activation::Gelu;
use super::mask::DropoutMask;
use super::param_grads;
use super::side::SideResult;

/// `y = x Wᵀ + b` (`nn.Linear`): weight `[N, K]`, bias `[N]`.
#[derive(Debug, Clone)]
pub(crate) struct Linear {
    weight: Tensor,
    bias: Option<Tensor>,
}

impl Linear {
    pub fn new(weight: Tensor, bias: Option<Tensor>) -> Self {
        Self { weight, bias }
    }

    pub fn weight(&self) -> &Tensor {
        &self.weight
    }

    pub fn bias(&self) -> Option<&Tensor> {
        self.bias.as_ref()
    }

    /// Returns whether gradients of both variables can go past candle.
    pub(super) fn takes_grads(&self) -> bool {
        param_grads::accepts(&self.weight) && self.bias.as_ref().is_none_or(param_grads::accepts)
    }
}

/// Layer normalisation (Ba et al. 2016) over the last dimension, of size `H`: weight `[H]`, bias `[H]` and ε.
#[derive(Debug, Clone)]
pub(crate) struct LayerNorm {
    pub weight: Tensor,
    pub bias: Tensor,
    pub eps: f64,
}

impl LayerNorm {
    /// Creates the variables `weight` (ones) and `bias` (zeros) of `shape`. Several axes are normalised jointly, as
    /// rows whose `H` is the product of their sizes.
    ///
    /// # Errors
    /// A stored tensor has another shape.
    pub fn new(shape: impl Into<Shape>, eps: f64, vb: VarBuilder<'_>) -> Result<Self> {
        let shape = shape.into();
        let variable = |name: &str, value| vb.get_with_hints(&shape, name, Init::Const(value))?.flatten_all();
        Ok(Self { weight: variable("weight", 1.0)?, bias: variable("bias", 0.0)?, eps })
    }

    /// Returns the size of a row, `H`.
    pub(super) fn width(&self) -> usize {
        self.weight.elem_count()
    }

    /// Returns whether gradients of both variables can go past candle.
    pub(super) fn takes_grads(&self) -> bool {
        param_grads::accepts(&self.weight) && param_grads::accepts(&self.bias)
    }
}

/// Where the norm of a sublayer stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// Before its inner part, as in CLIP.
    Before,
    /// After the sum, as in BERT.
    After,
}

/// What surrounds the inner part of a sublayer: output projection, norm, and their order.
#[derive(Clone)]
pub(crate) struct Residual {
    pub output: Linear,
    pub norm: LayerNorm,
    pub order: Order,
}

/// A learned key of LMC (arXiv 2305.08698), shared by both streams, and the position bias of one stream.
#[derive(Clone)]
pub(crate) struct SharedKey {
    /// A key for each position, `[heads, N, d]`, or one for all, `[heads, d]`.
    pub key: Tensor,
    /// Position bias, `[heads, L, L]`.
    pub bias: Tensor,
    /// Factor c of the bias.
    pub bias_scale: f64,
}

impl SharedKey {
    /// Returns N, or 1 if one key serves all positions.
    pub fn keys(&self) -> Result<usize> {
        if self.key.rank() == 2 { Ok(1) } else { self.key.dim(1) }
    }

    /// Fails if there are fewer keys or biases than `length` positions need.
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
}

/// Where attention takes its keys from.
#[derive(Clone)]
pub(crate) enum Keys {
    /// A projection of the layer's input.
    Projected(Linear),
    /// Learned keys, shared by both streams.
    Shared(SharedKey),
}

/// F of a sublayer: what stands between its input and its output projection.
pub(crate) trait InnerPart: Send + Sync + Sized + 'static {
    /// Returns the linear layers of F.
    fn layers(&self) -> Vec<&Linear>;

    /// Returns the variables of F that belong to no linear layer.
    fn variables(&self) -> Vec<&Tensor> {
        Vec::new()
    }

    /// Returns another tensor of the graph that F reads.
    fn second_input(&self) -> Option<&Tensor> {
        None
    }

    /// Fails if F cannot be computed of states `[B, T, H]`.
    fn check(&self, _states: &Tensor) -> Result<()> {
        Ok(())
    }
}

/// Attention as the inner part of a sublayer.
pub(crate) struct AttentionPart {
    pub query: Linear,
    pub keys: Keys,
    pub value: Linear,
    pub heads: usize,
    /// Rows of the batch, `B`.
    pub rows: usize,
    /// Keys and values of P positions of another stream, which go before those of the layer, `[2, B, P, H]`, contiguous;
    /// only with projected keys.
    pub prefix: Option<Tensor>,
    /// Added to the logits, `[B, 1, 1, P + T]`.
    pub padding: Option<Tensor>,
    /// Dropout of the attention maps.
    pub mask: Option<DropoutMask>,
    /// Receives the logits, `[B, heads, T, P + T]`, before padding and softmax, if they are read.
    pub logits: Option<SideResult>,
    /// Receives K, V and F, `[3, B, T, H]`, if another stream reads them; only with projected keys and without a prefix.
    pub revealed: Option<SideResult>,
}

impl AttentionPart {
    /// Returns P, the number of positions of the prefix.
    pub(super) fn prefix_length(&self) -> Result<usize> {
        self.prefix.as_ref().map_or(Ok(0), |prefix| prefix.dim(2))
    }
}

impl InnerPart for AttentionPart {
    fn layers(&self) -> Vec<&Linear> {
        match &self.keys {
            Keys::Projected(key) => vec![&self.query, key, &self.value],
            Keys::Shared(_) => vec![&self.query, &self.value],
        }
    }

    fn variables(&self) -> Vec<&Tensor> {
        match &self.keys {
            Keys::Projected(_) => Vec::new(),
            Keys::Shared(shared) => vec![&shared.key, &shared.bias],
        }
    }

    fn second_input(&self) -> Option<&Tensor> {
        self.prefix.as_ref()
    }

    fn check(&self, states: &Tensor) -> Result<()> {
        let learned = matches!(self.keys, Keys::Shared(_));
        if learned && (self.prefix.is_some() || self.revealed.is_some())
            || self.prefix.is_some() && self.revealed.is_some()
        {
            candle_core::bail!("attention has learned keys, a prefix, or reveals its keys, but only one of these");
        }
        let (rows, _, width) = states.dims3()?;
        let shape = [2, rows, self.prefix_length()?, width];
        match &self.prefix {
            Some(prefix) if prefix.dims() != shape => {
                candle_core::bail!("a prefix of shape {:?}, expected {shape:?}", prefix.dims())
            }
            _ => Ok(()),
        }
    }
}

/// The wide half of the feed-forward part as the inner part of a sublayer.
pub(crate) struct FeedForwardPart {
    pub up: Linear,
    pub activation: Gelu,
    /// Added before the activation, `[B, T, I]`.
    pub extra: Option<Tensor>,
}

impl InnerPart for FeedForwardPart {
    fn layers(&self) -> Vec<&Linear> {
        vec![&self.up]
    }

    fn second_input(&self) -> Option<&Tensor> {
        self.extra.as_ref()
    }
}
