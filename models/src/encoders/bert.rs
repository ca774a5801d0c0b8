//! BERT (Devlin et al. 2019), trainable, with the weight names of Hugging Face `BertModel` (without the pooler).
//!
//! Post-norm encoder: embeddings (word + position + type) → layer norm → dropout, then per layer
//! `x = norm(x + dropout(attention(x)))`, `x = norm(x + dropout(W₂ gelu(W₁ x)))`.

use candle_core::{DType, Result, Tensor};
use candle_nn::VarBuilder;
use serde::{Deserialize, Serialize};

use super::attention::Attention;
use super::layer::{Layer, check_layers};
use super::output::StreamOutput;
use crate::init::{normal, normal_linear};
use crate::inputs::Inputs;
use crate::mode::Mode;
use crate::ops::{self, Activation, Ids, Keys, LayerNorm, Order, Residual, SharedKey};

/// `config.json` of a Hugging Face BERT.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
pub struct BertConfig {
    /// Rows of the word embedding.
    pub vocab_size: usize,
    /// Size of the states, `H`.
    pub hidden_size: usize,
    /// Number of encoder layers, e.g. 12 in `bert-base-uncased`.
    pub num_hidden_layers: usize,
    /// Number of attention heads, which divides `H`.
    pub num_attention_heads: usize,
    /// Width of the feed-forward part.
    pub intermediate_size: usize,
    /// Activation: `gelu` (erf), `gelu_new` or `gelu_pytorch_tanh` (tanh), `quick_gelu`, `relu`.
    pub hidden_act: String,
    /// Dropout probability of embeddings and of both sublayers.
    pub hidden_dropout_prob: f64,
    /// Dropout probability of attention maps.
    pub attention_probs_dropout_prob: f64,
    /// Longest sequence, in word pieces.
    pub max_position_embeddings: usize,
    /// Id of the padding piece, whose word embedding gets no gradient (`padding_idx` of transformers' `nn.Embedding`).
    pub pad_token_id: Option<u32>,
    /// Rows of the segment embedding, of which the first alone is used.
    pub type_vocab_size: usize,
    /// Standard deviation of fresh weights.
    pub initializer_range: f64,
    /// Added to variances in layer norms, ε.
    pub layer_norm_eps: f64,
    /// Kind of the positions; only `absolute` is supported.
    pub position_embedding_type: Option<String>,
}

impl Default for BertConfig {
    /// Returns the configuration of `bert-base-uncased`, whose values stand in for keys that a `config.json` lacks.
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
            pad_token_id: Some(0),
            type_vocab_size: 2,
            initializer_range: 0.02,
            layer_norm_eps: 1e-12,
            position_embedding_type: None,
        }
    }
}

/// Word, position and segment embeddings, their norm and dropout.
pub(crate) struct TextEmbeddings {
    word: Tensor,
    /// Position embeddings, `[P, H]`: one for each position up to `max_position_embeddings`.
    pub position: Tensor,
    padding: Option<u32>,
    segment: Tensor,
    norm: LayerNorm,
    dropout: f64,
}

impl TextEmbeddings {
    fn new(config: &BertConfig, vb: VarBuilder<'_>) -> Result<Self> {
        let init = normal(config.initializer_range);
        let table = |rows, name: &str| vb.pp(name).get_with_hints((rows, config.hidden_size), "weight", init);
        Ok(Self {
            word: table(config.vocab_size, "word_embeddings")?,
            padding: config.pad_token_id,
            position: table(config.max_position_embeddings, "position_embeddings")?,
            segment: table(config.type_vocab_size, "token_type_embeddings")?,
            norm: LayerNorm::new(config.hidden_size, config.layer_norm_eps, vb.pp("LayerNorm"))?,
            dropout: config.hidden_dropout_prob,
        })
    }

    /// Returns the input of the first layer, `[B, T, H]`.
    pub fn forward(&self, ids: &Ids, mode: &mut Mode<'_>) -> Result<Tensor> {
        let (_, pieces) = ids.tensor().dims2()?;
        let longest = self.position.dim(0)?;
        if pieces > longest {
            candle_core::bail!("{pieces} word pieces, but the encoder has {longest} positions; lower max_length");
        }
        let words = ops::embedding(&self.word, ids, self.padding)?;
        // Every token belongs to the first segment.
        let positions = self.position.narrow(0, 0, pieces)?.broadcast_add(&self.segment.narrow(0, 0, 1)?)?;
        mode.dropout(&self.norm.forward(&words.broadcast_add(&positions)?)?, self.dropout)
    }
}

/// Creates a layer whose attention logits are read if `reads_logits`. With a shared key, it has no key projection.
fn layer(config: &BertConfig, shared: Option<SharedKey>, reads_logits: bool, vb: &VarBuilder<'_>) -> Result<Layer> {
    let size = config.hidden_size;
    let width = config.intermediate_size;
    let linear = |inputs, outputs, name| normal_linear(inputs, outputs, config.initializer_range, vb.pp(name));
    let end = |inputs, output, norm| {
        let norm = LayerNorm::new(size, config.layer_norm_eps, vb.pp(norm))?;
        Ok::<_, candle_core::Error>(Residual { output: linear(inputs, size, output)?, norm, order: Order::After })
    };
    let keys = match shared {
        Some(shared) => Keys::Shared(shared),
        None => Keys::Projected(linear(size, size, "attention.self.key")?),
    };
    let attention = Attention {
        query: linear(size, size, "attention.self.query")?,
        keys,
        value: linear(size, size, "attention.self.value")?,
        heads: config.num_attention_heads,
        map_dropout: config.attention_probs_dropout_prob,
    };
    Ok(Layer {
        attention,
        attention_end: end(size, "attention.output.dense", "attention.output.LayerNorm")?,
        up: linear(size, width, "intermediate.dense")?,
        activation: Activation::named(&config.hidden_act)?,
        end: end(width, "output.dense", "output.LayerNorm")?,
        dropout: config.hidden_dropout_prob,
        reads_logits,
    })
}

/// The encoder of BERT, without its pooler, which no head reads.
pub struct Bert {
    pub(crate) embeddings: TextEmbeddings,
    pub(crate) layers: Vec<Layer>,
}

impl Bert {
    /// Creates an encoder with the variables `embeddings.*` and `encoder.layer.N.*`.
    ///
    /// # Errors
    /// No BERT can have this configuration, or stored tensors have other shapes.
    pub fn new(config: &BertConfig, vb: VarBuilder<'_>) -> Result<Self> {
        Self::with_keys(config, &[], 0, vb)
    }

    /// Creates an encoder whose last layers use the keys `shared`, and which returns the logits of its last `mapped`
    /// layers.
    pub(crate) fn with_keys(
        config: &BertConfig,
        shared: &[SharedKey],
        mapped: usize,
        vb: VarBuilder<'_>,
    ) -> Result<Self> {
        if config.num_attention_heads == 0 || !config.hidden_size.is_multiple_of(config.num_attention_heads) {
            let size = config.hidden_size;
            let heads = config.num_attention_heads;
            candle_core::bail!("config.json: hidden_size {size} is not a multiple of num_attention_heads {heads}");
        }
        if let Some(kind) = config.position_embedding_type.as_deref().filter(|kind| *kind != "absolute") {
            candle_core::bail!("config.json: position_embedding_type `{kind}` is not supported, only `absolute`");
        }
        let layers = config.num_hidden_layers;
        check_layers(layers)?;
        let key = |n: usize| n.checked_sub(layers - shared.len()).map(|n| shared[n].clone());
        let layer = |n: usize| layer(config, key(n), n + mapped >= layers, &vb.pp(format!("encoder.layer.{n}")));
        let layers = (0..layers).map(layer).collect::<Result<_>>()?;
        Ok(Self { embeddings: TextEmbeddings::new(config, vb.pp("embeddings"))?, layers })
    }

    /// Encodes word pieces in f32; `ids` `[B, T]` u32, `mask` `[B, T]` u32 (1 on real pieces, 0 on padding).
    ///
    /// # Errors
    /// An id is outside the vocabulary, or a sequence is longer than the positions.
    pub fn forward(&self, ids: &Tensor, mask: &Tensor, mode: &mut Mode<'_>) -> Result<StreamOutput> {
        self.encode(&Inputs { ids: &Ids::read(ids)?, mask, pixels: None, dtype: DType::F32 }, None, mode)
    }

    /// Encodes the text of a batch, in its number type.
    pub(crate) fn encode(
        &self,
        inputs: &Inputs<'_>,
        read: Option<&Tensor>,
        mode: &mut Mode<'_>,
    ) -> Result<StreamOutput> {
        let padding = inputs.padding()?;
        let mut output = StreamOutput::new(self.embeddings.forward(inputs.ids, mode)?.to_dtype(inputs.dtype)?);
        for (n, layer) in self.layers.iter().enumerate() {
            let read = read.filter(|_| n + 1 == self.layers.len());
            let (states, readout) = layer.forward(output.last(), None, Some(&padding), read, mode)?;
            output.push(states, readout);
        }
        Ok(output)
    }
}
