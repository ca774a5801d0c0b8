//! An encoder folder as Hugging Face lays it out: `config.json`, `tokenizer.json`, `model.safetensors`.

use std::path::{Path, PathBuf};

use crate::bert::BertConfig;
use crate::error::{Error, Result};
use crate::tokenize::WordTokenizer;

/// Shape, tokenizer and weights file of a folder.
///
/// # Errors
/// A missing or unreadable file; a model of another type; a tokenizer with more tokens than the embedding has rows.
pub fn load(dir: &Path) -> Result<(BertConfig, WordTokenizer, PathBuf)> {
    let path = dir.join("config.json");
    let bad = |reason: String| Error::encoder(&path, reason);
    let value: serde_json::Value =
        serde_json::from_slice(&fs_err::read(&path)?).map_err(|error| bad(format!("not JSON: {error}")))?;
    if let Some(kind) = value.get("model_type").and_then(serde_json::Value::as_str).filter(|kind| *kind != "bert") {
        return Err(bad(format!("model_type is `{kind}`, expected `bert`")));
    }
    let config: BertConfig = serde_json::from_value(value).map_err(|error| bad(error.to_string()))?;
    let tokenizer = WordTokenizer::from_file(&dir.join("tokenizer.json"))?;
    let tokens = tokenizer.base_size();
    if tokens > config.vocab_size {
        return Err(bad(format!("vocab_size is {}, but tokenizer.json has {tokens} tokens", config.vocab_size)));
    }
    let weights = dir.join("model.safetensors");
    if !weights.is_file() {
        return Err(Error::encoder(&weights, "missing; convert other formats with `transformers` (save_pretrained)"));
    }
    Ok((config, tokenizer, weights))
}
