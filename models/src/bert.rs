//! BERT (Devlin et al. 2019), trainable, with the weight names of Hugging Face `BertModel` (without the pooler).
//!
//! Post-norm encoder: embeddings (word + position + type) → layer norm → dropout, then per layer
//! `x = norm(x + dropout(attention(x)))`, `x = norm(x + dropout(W₂ gelu(W₁ x)))`.

use candle_core::{DType, Result, Tensor};
use candle_nn::VarBuilder;
use serde::{Deserialize, Serialize};

use crate::activation::Activation;
use crate::attention::{Attended, Attention, Keys, SharedKey};
use crate::init::{linear, normal};
use crate::linear::Linear;
use crate::mode::Mode;
use crate::norm::LayerNorm;
use crate::stream::StreamOutput;

/// `config.json` of a Hugging Face BERT.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
pub struct BertConfig {
    /// Rows of the word embedding.
    pub vocab_size: usize,
    /// `H`.
    pub hidden_size: usize,
    /// Encoder layers.
    pub num_hidden_layers: usize,
    /// Attention heads; divides `H`.
    pub num_attention_heads: usize,
    /// Width of the feed-forward part.
    pub intermediate_size: usize,
    /// Activation: `gelu` (erf), `gelu_new` or `gelu_pytorch_tanh` (tanh), `quick_gelu`, `relu`.
    pub hidden_act: String,
    /// Dropout of embeddings and of both sublayers.
    pub hidden_dropout_prob: f64,
    /// Dropout of attention maps.
    pub attention_probs_dropout_prob: f64,
    /// Longest sequence.
    pub max_position_embeddings: usize,
    /// Segment types.
    pub type_vocab_size: usize,
    /// Standard deviation of fresh weights.
    pub initializer_range: f64,
    /// Added to variances.
    pub layer_norm_eps: f64,
    /// `absolute` is the only kind there is here.
    pub position_embedding_type: Option<String>,
}

impl Default for BertConfig {
    /// `bert-base-uncased`.
    fn default() -> Self {
        Self {
            vocab_size: 30_522,
            hidden_size: 768,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            intermediate_size: 3072,
            hidden_act: "gelu".to_owned(),
            hidden_dropout_prob: 0.1,
            attention_probs_dropout_prob: 0.1,
            max_position_embeddings: 512,
            type_vocab_size: 2,
            initializer_range: 0.02,
            layer_norm_eps: 1e-12,
            position_embedding_type: None,
        }
    }
}

pub(crate) struct Embeddings {
    word: Tensor,
    position: Tensor,
    kind: Tensor,
    norm: LayerNorm,
    dropout: f64,
}

impl Embeddings {
    fn new(config: &BertConfig, vb: VarBuilder<'_>) -> Result<Self> {
        let init = normal(config.initializer_range);
        let table = |rows, name: &str| vb.pp(name).get_with_hints((rows, config.hidden_size), "weight", init);
        Ok(Self {
            word: table(config.vocab_size, "word_embeddings")?,
            position: table(config.max_position_embeddings, "position_embeddings")?,
            kind: table(config.type_vocab_size, "token_type_embeddings")?,
            norm: LayerNorm::new(config.hidden_size, config.layer_norm_eps, vb.pp("LayerNorm"))?,
            dropout: config.hidden_dropout_prob,
        })
    }

    pub fn forward(&self, ids: &Tensor, mode: &mut Mode<'_>) -> Result<Tensor> {
        let (rows, pieces) = ids.dims2()?;
        let longest = self.position.dim(0)?;
        if pieces > longest {
            candle_core::bail!("{pieces} word pieces, but the encoder has {longest} positions; lower max_length");
        }
        let words = self.word.index_select(&ids.flatten_all()?, 0)?.reshape((rows, pieces, ()))?;
        // Every token is of the first segment.
        let place = self.position.narrow(0, 0, pieces)?.broadcast_add(&self.kind.narrow(0, 0, 1)?)?;
        mode.dropout(&self.norm.forward(&words.broadcast_add(&place)?)?, self.dropout)
    }
}

/// One encoder layer.
pub(crate) struct Layer {
    attention: Attention,
    output: Linear,
    attention_norm: LayerNorm,
    up: Linear,
    down: Linear,
    norm: LayerNorm,
    activation: Activation,
    dropout: f64,
}

impl Layer {
    /// With a shared key, the layer has no key projection.
    fn new(config: &BertConfig, shared: Option<SharedKey>, vb: &VarBuilder<'_>) -> Result<Self> {
        let (size, width) = (config.hidden_size, config.intermediate_size);
        let linear = |inputs, outputs, name| linear(inputs, outputs, config.initializer_range, vb.pp(name));
        let norm = |name| LayerNorm::new(size, config.layer_norm_eps, vb.pp(name));
        let keys = match shared {
            Some(shared) => Keys::Shared(shared),
            None => Keys::Own(linear(size, size, "attention.self.key")?),
        };
        let attention = Attention {
            query: linear(size, size, "attention.self.query")?,
            keys,
            value: linear(size, size, "attention.self.value")?,
            heads: config.num_attention_heads,
            map_dropout: config.attention_probs_dropout_prob,
        };
        Ok(Self {
            attention,
            output: linear(size, size, "attention.output.dense")?,
            attention_norm: norm("attention.output.LayerNorm")?,
            up: linear(size, width, "intermediate.dense")?,
            down: linear(width, size, "output.dense")?,
            norm: norm("output.LayerNorm")?,
            activation: Activation::named(&config.hidden_act)?,
            dropout: config.hidden_dropout_prob,
        })
    }

    /// The first sublayer: states `[B, T, H]`, and how they came about.
    pub fn attend(&self, x: &Tensor, padding: &Tensor, mode: &mut Mode<'_>) -> Result<(Tensor, Attended)> {
        let attended = self.attention.forward(x, None, Some(padding), mode)?;
        let out = mode.dropout(&self.output.forward(&attended.context)?, self.dropout)?;
        Ok((self.attention_norm.forward(&(x + out)?)?, attended))
    }

    /// The second sublayer; `extra` `[B, T, intermediate]` is added before the activation.
    pub fn feed_forward(&self, x: &Tensor, extra: Option<&Tensor>, mode: &mut Mode<'_>) -> Result<Tensor> {
        let wide = self.up.forward(x)?;
        let wide = extra.map_or(Ok(wide.clone()), |extra| wide + extra)?;
        let out = mode.dropout(&self.down.forward(&self.activation.forward(&wide)?)?, self.dropout)?;
        self.norm.forward(&(x + out)?)
    }
}

/// What is added to attention logits, `[B, 1, 1, T]` from `mask` `[B, T]`: 0 on real pieces, a large negative number on
/// padding, so that its softmax weight underflows to exactly 0.
pub(crate) fn padding(mask: &Tensor) -> Result<Tensor> {
    ((mask.to_dtype(DType::F32)? - 1.0)? * 1e9)?.unsqueeze(1)?.unsqueeze(1)
}

/// The encoder.
pub struct Bert {
    pub(crate) embeddings: Embeddings,
    pub(crate) layers: Vec<Layer>,
}

impl Bert {
    /// Variables `embeddings.*`, `encoder.layer.N.*`.
    ///
    /// # Errors
    /// A configuration that no BERT can have, or stored tensors of other shapes.
    pub fn new(config: &BertConfig, vb: VarBuilder<'_>) -> Result<Self> {
        Self::with_keys(config, &[], vb)
    }

    /// The last layers use these keys.
    pub(crate) fn with_keys(config: &BertConfig, shared: &[SharedKey], vb: VarBuilder<'_>) -> Result<Self> {
        if config.num_attention_heads == 0 || !config.hidden_size.is_multiple_of(config.num_attention_heads) {
            let (size, heads) = (config.hidden_size, config.num_attention_heads);
            candle_core::bail!("config.json: hidden_size {size} is not a multiple of num_attention_heads {heads}");
        }
        if let Some(kind) = config.position_embedding_type.as_deref().filter(|kind| *kind != "absolute") {
            candle_core::bail!("config.json: position_embedding_type `{kind}` is not supported, only `absolute`");
        }
        let first = config.num_hidden_layers - shared.len();
        let key = |n: usize| n.checked_sub(first).map(|n| shared[n].clone());
        let layer = |n: usize| Layer::new(config, key(n), &vb.pp(format!("encoder.layer.{n}")));
        let layers = (0..config.num_hidden_layers).map(layer).collect::<Result<_>>()?;
        Ok(Self { embeddings: Embeddings::new(config, vb.pp("embeddings"))?, layers })
    }

    /// `ids` `[B, T]` u32, `mask` `[B, T]` u32 (1 on real pieces, 0 on padding).
    ///
    /// # Errors
    /// An id outside the vocabulary, a sequence longer than the positions.
    pub fn forward(&self, ids: &Tensor, mask: &Tensor, mode: &mut Mode<'_>) -> Result<StreamOutput> {
        let padding = padding(mask)?;
        let mut output = StreamOutput::new(self.embeddings.forward(ids, mode)?);
        for layer in &self.layers {
            let (states, attended) = layer.attend(output.last(), &padding, mode)?;
            output.push(layer.feed_forward(&states, None, mode)?, attended);
        }
        Ok(output)
    }
}
