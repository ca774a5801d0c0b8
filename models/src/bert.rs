//! BERT (Devlin et al. 2019), trainable, with the weight names of Hugging Face `BertModel` (without the pooler).
//!
//! Post-norm encoder: embeddings (word + position + type) → layer norm → dropout, then per layer
//! `x = norm(x + dropout(attention(x)))`, `x = norm(x + dropout(W₂ gelu(W₁ x)))`.

use candle_core::{D, DType, Result, Tensor};
use candle_nn::{Init, Linear, Module, VarBuilder};
use serde::Deserialize;

use crate::mode::Mode;
use crate::norm::LayerNorm;

/// `config.json` of a Hugging Face BERT.
#[derive(Debug, Clone, Deserialize)]
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
    /// Activation: `gelu` (erf), `gelu_new` or `gelu_pytorch_tanh` (tanh), `relu`.
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

#[derive(Debug, Clone, Copy)]
enum Activation {
    GeluErf,
    GeluTanh,
    Relu,
}

impl Activation {
    fn named(name: &str) -> Result<Self> {
        match name {
            "gelu" => Ok(Self::GeluErf),
            "gelu_new" | "gelu_pytorch_tanh" => Ok(Self::GeluTanh),
            "relu" => Ok(Self::Relu),
            other => candle_core::bail!("config.json: hidden_act `{other}` is not known; use gelu, gelu_new or relu"),
        }
    }

    fn forward(self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::GeluErf => x.gelu_erf(),
            Self::GeluTanh => x.gelu(),
            Self::Relu => x.relu(),
        }
    }
}

fn normal(config: &BertConfig) -> Init {
    Init::Randn { mean: 0.0, stdev: config.initializer_range }
}

fn linear(inputs: usize, outputs: usize, config: &BertConfig, vb: VarBuilder<'_>) -> Result<Linear> {
    let weight = vb.get_with_hints((outputs, inputs), "weight", normal(config))?;
    Ok(Linear::new(weight, Some(vb.get_with_hints(outputs, "bias", Init::Const(0.0))?)))
}

struct Embeddings {
    word: Tensor,
    position: Tensor,
    kind: Tensor,
    norm: LayerNorm,
    dropout: f64,
}

impl Embeddings {
    fn new(config: &BertConfig, vb: VarBuilder<'_>) -> Result<Self> {
        let table = |rows, name: &str| vb.pp(name).get_with_hints((rows, config.hidden_size), "weight", normal(config));
        Ok(Self {
            word: table(config.vocab_size, "word_embeddings")?,
            position: table(config.max_position_embeddings, "position_embeddings")?,
            kind: table(config.type_vocab_size, "token_type_embeddings")?,
            norm: LayerNorm::new(config.hidden_size, config.layer_norm_eps, vb.pp("LayerNorm"))?,
            dropout: config.hidden_dropout_prob,
        })
    }

    fn forward(&self, ids: &Tensor, mode: &mut Mode<'_>) -> Result<Tensor> {
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

struct Attention {
    query: Linear,
    key: Linear,
    value: Linear,
    output: Linear,
    norm: LayerNorm,
    heads: usize,
    map_dropout: f64,
    dropout: f64,
}

impl Attention {
    fn new(config: &BertConfig, vb: &VarBuilder<'_>) -> Result<Self> {
        let size = config.hidden_size;
        let own = vb.pp("self");
        Ok(Self {
            query: linear(size, size, config, own.pp("query"))?,
            key: linear(size, size, config, own.pp("key"))?,
            value: linear(size, size, config, own.pp("value"))?,
            output: linear(size, size, config, vb.pp("output.dense"))?,
            norm: LayerNorm::new(size, config.layer_norm_eps, vb.pp("output.LayerNorm"))?,
            heads: config.num_attention_heads,
            map_dropout: config.attention_probs_dropout_prob,
            dropout: config.hidden_dropout_prob,
        })
    }

    /// New states `[B, T, H]` and attention maps `[B, heads, T, T]` (before dropout).
    fn forward(&self, x: &Tensor, bias: &Tensor, mode: &mut Mode<'_>) -> Result<(Tensor, Tensor)> {
        let (rows, pieces, size) = x.dims3()?;
        let split = |x: Tensor| x.reshape((rows, pieces, self.heads, size / self.heads))?.transpose(1, 2)?.contiguous();
        let scale = ((size / self.heads) as f64).sqrt().recip();
        let query = (split(self.query.forward(x)?)? * scale)?;
        let key = split(self.key.forward(x)?)?;
        let scores = query.matmul(&key.transpose(2, 3)?.contiguous()?)?.broadcast_add(bias)?;
        let maps = candle_nn::ops::softmax(&scores, D::Minus1)?;
        let value = split(self.value.forward(x)?)?;
        let mixed = mode.dropout(&maps, self.map_dropout)?.matmul(&value)?;
        let mixed = mixed.transpose(1, 2)?.contiguous()?.reshape((rows, pieces, size))?;
        let out = mode.dropout(&self.output.forward(&mixed)?, self.dropout)?;
        Ok((self.norm.forward(&(x + out)?)?, maps))
    }
}

struct Layer {
    attention: Attention,
    up: Linear,
    down: Linear,
    norm: LayerNorm,
    activation: Activation,
    dropout: f64,
}

impl Layer {
    fn new(config: &BertConfig, vb: &VarBuilder<'_>) -> Result<Self> {
        let (size, width) = (config.hidden_size, config.intermediate_size);
        Ok(Self {
            attention: Attention::new(config, &vb.pp("attention"))?,
            up: linear(size, width, config, vb.pp("intermediate.dense"))?,
            down: linear(width, size, config, vb.pp("output.dense"))?,
            norm: LayerNorm::new(size, config.layer_norm_eps, vb.pp("output.LayerNorm"))?,
            activation: Activation::named(&config.hidden_act)?,
            dropout: config.hidden_dropout_prob,
        })
    }

    fn forward(&self, x: &Tensor, bias: &Tensor, mode: &mut Mode<'_>) -> Result<(Tensor, Tensor)> {
        let (x, maps) = self.attention.forward(x, bias, mode)?;
        let wide = self.activation.forward(&self.up.forward(&x)?)?;
        let out = mode.dropout(&self.down.forward(&wide)?, self.dropout)?;
        Ok((self.norm.forward(&(x + out)?)?, maps))
    }
}

/// What an encoder computes.
pub struct BertOutput {
    /// Output of the embeddings and of each layer, `[B, T, H]`.
    pub hidden: Vec<Tensor>,
    /// Attention maps of each layer, `[B, heads, T, T]`, before dropout.
    pub attentions: Vec<Tensor>,
}

impl BertOutput {
    /// The last layer's states `[B, T, H]`.
    pub fn last(&self) -> &Tensor {
        &self.hidden[self.hidden.len() - 1]
    }
}

/// The encoder.
pub struct Bert {
    embeddings: Embeddings,
    layers: Vec<Layer>,
}

impl Bert {
    /// Variables `embeddings.*`, `encoder.layer.N.*`.
    ///
    /// # Errors
    /// A configuration that no BERT can have, or stored tensors of other shapes.
    pub fn new(config: &BertConfig, vb: VarBuilder<'_>) -> Result<Self> {
        if config.num_attention_heads == 0 || !config.hidden_size.is_multiple_of(config.num_attention_heads) {
            let (size, heads) = (config.hidden_size, config.num_attention_heads);
            candle_core::bail!("config.json: hidden_size {size} is not a multiple of num_attention_heads {heads}");
        }
        if let Some(kind) = config.position_embedding_type.as_deref().filter(|kind| *kind != "absolute") {
            candle_core::bail!("config.json: position_embedding_type `{kind}` is not supported, only `absolute`");
        }
        let layer = |n: usize| Layer::new(config, &vb.pp(format!("encoder.layer.{n}")));
        let layers = (0..config.num_hidden_layers).map(layer).collect::<Result<_>>()?;
        Ok(Self { embeddings: Embeddings::new(config, vb.pp("embeddings"))?, layers })
    }

    /// `ids` `[B, T]` u32, `mask` `[B, T]` u32 (1 on real pieces, 0 on padding).
    ///
    /// # Errors
    /// An id outside the vocabulary, a sequence longer than the positions.
    pub fn forward(&self, ids: &Tensor, mask: &Tensor, mode: &mut Mode<'_>) -> Result<BertOutput> {
        // 0 on real pieces, a large negative number on padding: its softmax weight underflows to exactly 0.
        let bias = ((mask.to_dtype(DType::F32)? - 1.0)? * 1e9)?.unsqueeze(1)?.unsqueeze(1)?;
        let mut output = BertOutput { hidden: vec![self.embeddings.forward(ids, mode)?], attentions: Vec::new() };
        for layer in &self.layers {
            let (states, maps) = layer.forward(output.last(), &bias, mode)?;
            output.hidden.push(states);
            output.attentions.push(maps);
        }
        Ok(output)
    }
}
