//! Reads encoder folders in Hugging Face's layout: `config.json`, `model.safetensors` and, for text, `tokenizer.json`.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::hub::Hub;
use crate::encoders::{BertConfig, ClipVisionConfig};
use crate::error::{Error, Result};
use crate::text::WordTokenizer;

/// Reads shape, tokenizer and path of the weights from a BERT folder.
fn load_bert(dir: &Path) -> Result<(BertConfig, WordTokenizer, PathBuf)> {
    let (config, tokenizer) = bert_shape(dir)?;
    Ok((config, tokenizer, weights(dir)?))
}

/// Reads shape and tokenizer from a BERT folder.
fn bert_shape(dir: &Path) -> Result<(BertConfig, WordTokenizer)> {
    let path = dir.join("config.json");
    let value = read_json(&path)?;
    if let Some(kind) = model_type(&value).filter(|kind| *kind != "bert") {
        return Err(Error::encoder(&path, format!("model_type is `{kind}`, expected `bert`")));
    }
    let config: BertConfig = parse(&path, value)?;
    let tokenizer = WordTokenizer::from_file(&dir.join("tokenizer.json"))?;
    let tokens = tokenizer.base_size();
    if tokens > config.vocab_size {
        let reason = format!("vocab_size is {}, but tokenizer.json has {tokens} tokens", config.vocab_size);
        return Err(Error::encoder(&path, reason));
    }
    Ok((config, tokenizer))
}

/// Reads shape and path of the weights from a folder that holds a `CLIPModel` or a `CLIPVisionModel`.
fn load_clip(dir: &Path) -> Result<(ClipVisionConfig, PathBuf)> {
    Ok((clip_shape(dir)?, weights(dir)?))
}

/// Reads the shape from such a folder.
fn clip_shape(dir: &Path) -> Result<ClipVisionConfig> {
    let path = dir.join("config.json");
    let value = read_json(&path)?;
    // Old files write the vision part twice, and transformers prefers the one with `_dict`.
    let nested = ["vision_config_dict", "vision_config"].into_iter().filter_map(|key| value.get(key));
    let nested = nested.into_iter().find(|part| part.is_object()).cloned();
    let vision = match (model_type(&value), nested) {
        (Some("clip") | None, Some(part)) => part,
        // Values that a CLIP leaves out are those of ViT-B/32.
        (Some("clip"), None) => Value::Object(serde_json::Map::new()),
        (Some("clip_vision_model") | None, _) => value,
        (Some(kind), _) => {
            let reason = format!("model_type is `{kind}`, expected `clip` or `clip_vision_model`");
            return Err(Error::encoder(&path, reason));
        }
    };
    parse(&path, vision)
}

fn read_json(path: &Path) -> Result<Value> {
    serde_json::from_slice(&fs_err::read(path)?).map_err(|error| Error::encoder(path, format!("not JSON: {error}")))
}

fn parse<T: DeserializeOwned>(path: &Path, value: Value) -> Result<T> {
    serde_json::from_value(value).map_err(|error| Error::encoder(path, error.to_string()))
}

fn model_type(value: &Value) -> Option<&str> {
    value.get("model_type").and_then(Value::as_str)
}

fn weights(dir: &Path) -> Result<PathBuf> {
    let path = dir.join("model.safetensors");
    if !path.is_file() {
        return Err(Error::encoder(&path, "missing; convert other formats with `transformers` (save_pretrained)"));
    }
    Ok(path)
}

/// The files of a text encoder.
pub struct TextFiles {
    /// Shape of the encoder.
    pub config: BertConfig,
    /// Tokenizer of the encoder.
    pub tokenizer: WordTokenizer,
    /// Path of `model.safetensors`.
    pub weights: PathBuf,
    /// Commit of the hub's repository that the files are from; a folder has none.
    pub revision: Option<String>,
}

impl TextFiles {
    /// Opens a folder or a repository of the Hugging Face hub, with the settings of the environment.
    ///
    /// # Errors
    /// The name is neither; a file is missing, cannot be fetched or cannot be read; the model is no BERT; or the
    /// tokenizer has more tokens than the embedding has rows.
    pub fn open(name: &str) -> Result<Self> {
        let found = Hub::from_env().resolve(name, None, &["config.json", "tokenizer.json", "model.safetensors"])?;
        let (config, tokenizer, weights) = load_bert(&found.folder)?;
        Ok(Self { config, tokenizer, weights, revision: found.revision })
    }

    /// Reads shape and tokenizer from a folder, whether it holds weights or not.
    ///
    /// # Errors
    /// A file is missing or cannot be read; the model is no BERT.
    pub fn shape(folder: &Path) -> Result<(BertConfig, WordTokenizer)> {
        bert_shape(folder)
    }
}

/// The files of a vision encoder.
pub struct VisionFiles {
    /// Shape of the encoder.
    pub config: ClipVisionConfig,
    /// Path of `model.safetensors`.
    pub weights: PathBuf,
    /// Commit of the hub's repository that the files are from; a folder has none.
    pub revision: Option<String>,
}

impl VisionFiles {
    /// Opens a folder or a repository of the Hugging Face hub, with the settings of the environment.
    ///
    /// # Errors
    /// The name is neither; a file is missing, cannot be fetched or cannot be read; or the model is no CLIP.
    pub fn open(name: &str) -> Result<Self> {
        let found = Hub::from_env().resolve(name, None, &["config.json", "model.safetensors"])?;
        let (config, weights) = load_clip(&found.folder)?;
        Ok(Self { config, weights, revision: found.revision })
    }

    /// Reads the shape from a folder, whether it holds weights or not.
    ///
    /// # Errors
    /// The file is missing or cannot be read; the model is no CLIP.
    pub fn shape(folder: &Path) -> Result<ClipVisionConfig> {
        clip_shape(folder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clip(config: &str, weights: bool) -> Result<ClipVisionConfig> {
        let dir = tempfile::tempdir().unwrap();
        fs_err::write(dir.path().join("config.json"), config).unwrap();
        if weights {
            fs_err::write(dir.path().join("model.safetensors"), "").unwrap();
        }
        load_clip(dir.path()).map(|(config, _)| config)
    }

    #[test]
    fn the_vision_part_of_a_clip_is_found_and_what_is_missing_is_that_of_vit_b_32() {
        let sizes = |config: &str| {
            let config = clip(config, true).unwrap();
            (config.hidden_size, config.patch_size, config.hidden_act)
        };
        let quick = || "quick_gelu".to_owned();
        assert_eq!(sizes(r#"{"model_type": "clip"}"#), (768, 32, quick()));
        let nested = r#"{"model_type": "clip", "hidden_size": 1, "vision_config": {"patch_size": 16}}"#;
        assert_eq!(sizes(nested), (768, 16, quick()));
        let twice =
            r#"{"model_type": "clip", "vision_config": {"patch_size": 16}, "vision_config_dict": {"patch_size": 8}}"#;
        assert_eq!(sizes(twice), (768, 8, quick()));
        let null = r#"{"model_type": "clip", "vision_config_dict": null, "vision_config": {"patch_size": 16}}"#;
        assert_eq!(sizes(null), (768, 16, quick()));
        let flat = r#"{"model_type": "clip_vision_model", "hidden_size": 36, "hidden_act": "gelu"}"#;
        assert_eq!(sizes(flat), (36, 32, "gelu".to_owned()));
    }

    #[test]
    fn other_folders_are_refused() {
        let refused = |config: &str, weights: bool, words: &str| {
            let error = clip(config, weights).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        };
        refused(r#"{"model_type": "bert"}"#, true, "config.json: model_type is `bert`, expected `clip`");
        refused("{", true, "config.json: not JSON");
        refused(r#"{"model_type": "clip", "vision_config": {"hidden_size": "x"}}"#, true, "config.json: invalid type");
        refused(r#"{"model_type": "clip"}"#, false, "model.safetensors: missing");
    }
}
