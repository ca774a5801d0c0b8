//! Where the encoder comes from: a Hugging Face folder, or a tiny built-in shape with seeded weights.

use std::path::{Path, PathBuf};

use candle_core::Device;
use mkgc_models::bert::BertConfig;
use mkgc_models::params::ParamStore;
use mkgc_models::tokenize::WordTokenizer;

use crate::data::Benchmark;
use crate::error::{Error, Result};

/// Name that selects the built-in encoder instead of a folder.
pub const TINY: &str = "tiny";

/// An encoder's shape and weights.
pub struct EncoderSource {
    config: BertConfig,
    weights: Option<PathBuf>,
    /// What `run.json` records: `tiny`, or the SHA-256 of the weights.
    pub identity: String,
}

impl EncoderSource {
    /// Opens `tiny` or a folder with `config.json`, `tokenizer.json` and `model.safetensors`.
    pub fn open(name: &str, benchmark: &Benchmark) -> Result<(Self, WordTokenizer)> {
        if name == TINY {
            let tokenizer = WordTokenizer::from_words(benchmark.training_words()?)?;
            return Ok((Self { config: tiny(), weights: None, identity: TINY.to_owned() }, tokenizer));
        }
        let folder = Path::new(name);
        if !folder.is_dir() {
            let reason = "is neither `tiny` nor a folder with config.json, tokenizer.json and model.safetensors";
            return Err(Error::Usage(format!("--encoder {name} {reason}")));
        }
        let (config, tokenizer, weights) = mkgc_models::encoder::load(folder)?;
        let (identity, _) = mkgc_builder::corpus::sha256_file(&weights)?;
        Ok((Self { config, weights: Some(weights), identity }, tokenizer))
    }

    /// The shape, with room for the tokenizer's added markers.
    pub fn config(&self, vocab_size: usize) -> BertConfig {
        BertConfig { vocab_size: vocab_size.max(self.config.vocab_size), ..self.config.clone() }
    }

    /// Variables that take the pre-trained values when asked for.
    pub fn store(&self, seed: u64, device: &Device) -> Result<ParamStore> {
        let store = ParamStore::new(seed, device.clone());
        Ok(match &self.weights {
            Some(path) => store.with_pretrained(path)?,
            None => store,
        })
    }

    /// Fails when a weights file was given but named none of the encoder's variables.
    pub fn check_pretrained(&self, store: &ParamStore) -> Result<()> {
        if self.weights.is_some() {
            store.require_pretrained("encoder.layer")?;
        }
        Ok(())
    }
}

fn tiny() -> BertConfig {
    BertConfig {
        vocab_size: 0,
        hidden_size: 64,
        num_hidden_layers: 2,
        num_attention_heads: 4,
        intermediate_size: 128,
        max_position_embeddings: 128,
        ..BertConfig::default()
    }
}
