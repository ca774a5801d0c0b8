//! BERT (Devlin et al. 2019), trainable, with the weight names of Hugging Face `BertModel` (without the pooler).
//!
//! Post-norm encoder: embeddings (word + position + type) → layer norm → dropout, then per layer
//! `x = norm(x + dropout(attention(x)))`, `x = norm(x + dropout(W₂ gelu(W₁ x)))`.

use candle_core::{DType, Result, Tensor};
use candle_nn::VarBuilder;
use serde::{Deserialize, Serialize};

use crate::activation::Activation;
use crate::attention::Attention;
use crate::init::{linear, normal};
use crate::layer::Layer;
use crate::mode::Mode;
use crate::network::Inputs;
use crate::norm::LayerNorm;
use crate::ops::{self, Ids, Keys, Order, Residual, SharedKey};
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
    /// Id of the padding piece, whose word embedding gets no gradient (`padding_idx` of transformers' `nn.Embedding`).
    pub pad_token_id: Option<u32>,
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
            pad_token_id: Some(0),
            type_vocab_size: 2,
            initializer_range: 0.02,
            layer_norm_eps: 1e-12,
            position_embedding_type: None,
        }
    }
}

pub(crate) struct Embeddings {
    word: Tensor,
    /// `[P, H]`.
    pub position: Tensor,
    padding: Option<u32>,
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
            padding: config.pad_token_id,
            position: table(config.max_position_embeddings, "position_embeddings")?,
            kind: table(config.type_vocab_size, "token_type_embeddings")?,
            norm: LayerNorm::new(config.hidden_size, config.layer_norm_eps, vb.pp("LayerNorm"))?,
            dropout: config.hidden_dropout_prob,
        })
    }

    pub fn forward(&self, ids: &Ids, mode: &mut Mode<'_>) -> Result<Tensor> {
        let (_, pieces) = ids.tensor().dims2()?;
        let longest = self.position.dim(0)?;
        if pieces > longest {
            candle_core::bail!("{pieces} word pieces, but the encoder has {longest} positions; lower max_length");
        }
        let words = ops::embedding(&self.word, ids, self.padding)?;
        // Every token is of the first segment.
        let place = self.position.narrow(0, 0, pieces)?.broadcast_add(&self.kind.narrow(0, 0, 1)?)?;
        mode.dropout(&self.norm.forward(&words.broadcast_add(&place)?)?, self.dropout)
    }
}

/// A layer whose maps are read if there is a shared key or `maps`; with a shared key, it has no key projection.
fn layer(config: &BertConfig, shared: Option<SharedKey>, maps: bool, vb: &VarBuilder<'_>) -> Result<Layer> {
    let (size, width) = (config.hidden_size, config.intermediate_size);
    let linear = |inputs, outputs, name| linear(inputs, outputs, config.initializer_range, vb.pp(name));
    let end = |inputs, output, norm| {
        let norm = LayerNorm::new(size, config.layer_norm_eps, vb.pp(norm))?;
        Ok::<_, candle_core::Error>(Residual { output: linear(inputs, size, output)?, norm, order: Order::After })
    };
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
    Ok(Layer {
        attention,
        attention_end: end(size, "attention.output.dense", "attention.output.LayerNorm")?,
        up: linear(size, width, "intermediate.dense")?,
        activation: Activation::named(&config.hidden_act)?,
        end: end(width, "output.dense", "output.LayerNorm")?,
        dropout: config.hidden_dropout_prob,
        maps,
    })
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
        Self::with_keys(config, &[], 0, vb)
    }

    /// The last layers use these keys, if any; the logits of the last `mapped` layers are read.
    pub(crate) fn with_keys(
        config: &BertConfig,
        shared: &[SharedKey],
        mapped: usize,
        vb: VarBuilder<'_>,
    ) -> Result<Self> {
        if config.num_attention_heads == 0 || !config.hidden_size.is_multiple_of(config.num_attention_heads) {
            let (size, heads) = (config.hidden_size, config.num_attention_heads);
            candle_core::bail!("config.json: hidden_size {size} is not a multiple of num_attention_heads {heads}");
        }
        if let Some(kind) = config.position_embedding_type.as_deref().filter(|kind| *kind != "absolute") {
            candle_core::bail!("config.json: position_embedding_type `{kind}` is not supported, only `absolute`");
        }
        let layers = config.num_hidden_layers;
        if layers == 0 {
            candle_core::bail!("config.json: num_hidden_layers is 0, but an encoder needs at least one layer");
        }
        let key = |n: usize| n.checked_sub(layers - shared.len()).map(|n| shared[n].clone());
        let layer = |n: usize| layer(config, key(n), n + mapped >= layers, &vb.pp(format!("encoder.layer.{n}")));
        let layers = (0..layers).map(layer).collect::<Result<_>>()?;
        Ok(Self { embeddings: Embeddings::new(config, vb.pp("embeddings"))?, layers })
    }

    /// In f32; `ids` `[B, T]` u32, `mask` `[B, T]` u32 (1 on real pieces, 0 on padding).
    ///
    /// # Errors
    /// An id outside the vocabulary, a sequence longer than the positions.
    pub fn forward(&self, ids: &Tensor, mask: &Tensor, mode: &mut Mode<'_>) -> Result<StreamOutput> {
        self.encode(&Inputs { ids: &Ids::read(ids)?, mask, pixels: None, dtype: DType::F32 }, None, mode)
    }

    /// Encodes a batch; the last layer gives states `[B, A, H]` at the positions `read` `[B, A]`, or all.
    pub(crate) fn encode(
        &self,
        inputs: &Inputs<'_>,
        read: Option<&Tensor>,
        mode: &mut Mode<'_>,
    ) -> Result<StreamOutput> {
        let padding = padding(inputs.mask)?;
        let mut output = StreamOutput::new(self.embeddings.forward(inputs.ids, mode)?.to_dtype(inputs.dtype)?);
        for (n, layer) in self.layers.iter().enumerate() {
            let read = read.filter(|_| n + 1 == self.layers.len());
            let (states, readout) = layer.forward(output.last(), None, Some(&padding), read, mode)?;
            output.push(states, readout);
        }
        Ok(output)
    }
}
