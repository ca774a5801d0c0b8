//! Reads encoder folders in Hugging Face's layout: `config.json`, `model.safetensors` (or the files that
//! `model.safetensors.index.json` names, as `save_pretrained` writes large models) and, for text, `tokenizer.json` or else
//! BERT's `vocab.txt`.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::hub::{Hub, HubFolder};
use super::shards::{INDEX, shards};
use crate::encoders::{BertConfig, ClipVisionConfig};
use crate::error::{Error, Result};
use crate::text::WordTokenizer;

const CONFIG: &str = "config.json";
const WEIGHTS: &str = "model.safetensors";
const TOKENIZER: &str = "tokenizer.json";
const VOCABULARY: &str = "vocab.txt";
const OPTIONS: &str = "tokenizer_config.json";

/// What an error says if the hub has answered that a repository lacks a file.
const NOT_FOUND: &str = "http status: 404";

/// Reads the shape of a BERT.
fn load_bert(path: &Path) -> Result<BertConfig> {
    let value = read_json(path)?;
    if let Some(kind) = model_type(&value).filter(|kind| *kind != "bert") {
        return Err(Error::encoder(path, format!("model_type is `{kind}`, expected `bert`")));
    }
    let config: BertConfig = parse(path, value)?;
    check_dropout(path, "hidden_dropout_prob", config.hidden_dropout_prob)?;
    check_dropout(path, "attention_probs_dropout_prob", config.attention_probs_dropout_prob)?;
    Ok(config)
}

/// Reads the tokenizer of a folder, and names the files that it is made of.
fn load_tokenizer(dir: &Path, config: &BertConfig) -> Result<(WordTokenizer, Vec<PathBuf>)> {
    let path = dir.join(TOKENIZER);
    let vocabulary = dir.join(VOCABULARY);
    let (tokenizer, mut files) = if path.is_file() {
        (WordTokenizer::from_file(&path)?, vec![path])
    } else if vocabulary.is_file() {
        (WordTokenizer::from_vocabulary(&vocabulary)?, vec![vocabulary, dir.join(OPTIONS)])
    } else {
        let reason =
            format!("missing, and so is {VOCABULARY}; save the tokenizer with `transformers` (save_pretrained)");
        return Err(Error::encoder(&path, reason));
    };
    let tokens = tokenizer.base_size();
    if tokens > config.vocab_size {
        let file = files[0].file_name().unwrap_or_default().to_string_lossy();
        let reason = format!("vocab_size is {}, but {file} has {tokens} tokens", config.vocab_size);
        return Err(Error::encoder(&dir.join(CONFIG), reason));
    }
    files.retain(|file| file.is_file());
    Ok((tokenizer, files))
}

/// Reads the shape of the vision part of a `CLIPModel` or a `CLIPVisionModel`.
fn load_clip(path: &Path) -> Result<ClipVisionConfig> {
    let value = read_json(path)?;
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
            return Err(Error::encoder(path, reason));
        }
    };
    let config: ClipVisionConfig = parse(path, vision)?;
    check_dropout(path, "attention_dropout", config.attention_dropout)?;
    Ok(config)
}

/// Refuses a probability of dropout that drops everything or is none.
fn check_dropout(path: &Path, key: &str, value: f64) -> Result<()> {
    if (0.0..1.0).contains(&value) {
        return Ok(());
    }
    Err(Error::encoder(path, format!("{key} is {value}, but a probability of dropout must lie in [0, 1)")))
}

fn read_json(path: &Path) -> Result<Value> {
    if !path.is_file() {
        return Err(Error::encoder(path, "missing; give a folder that `transformers` wrote (save_pretrained)"));
    }
    serde_json::from_slice(&fs_err::read(path)?).map_err(|error| Error::encoder(path, format!("not JSON: {error}")))
}

fn parse<T: DeserializeOwned>(path: &Path, value: Value) -> Result<T> {
    serde_json::from_value(value).map_err(|error| Error::encoder(path, error.to_string()))
}

fn model_type(value: &Value) -> Option<&str> {
    value.get("model_type").and_then(Value::as_str)
}

/// Returns the files that hold the weights of a folder.
fn weights(dir: &Path) -> Result<Vec<PathBuf>> {
    let path = dir.join(WEIGHTS);
    if path.is_file() {
        return Ok(vec![path]);
    }
    let index = dir.join(INDEX);
    if !index.is_file() {
        return Err(Error::encoder(&path, "missing; convert other formats with `transformers` (save_pretrained)"));
    }
    let files: Vec<PathBuf> = shards(&index)?.into_iter().map(|name| dir.join(name)).collect();
    match files.iter().find(|file| !file.is_file()) {
        Some(missing) => Err(Error::encoder(missing, format!("missing, and {INDEX} names it; fetch the model again"))),
        None => Ok(files),
    }
}

impl Hub {
    /// Finds the files of an encoder as [`Hub::resolve`] does, at the revision that the name gives. Where the repository
    /// lacks one of the `ordinary` files, it may have `vocab.txt` instead of `tokenizer.json`, and an index with several
    /// files of weights instead of one.
    ///
    /// # Errors
    /// What [`Hub::resolve`] fails for; the error is about the ordinary files.
    pub fn resolve_encoder(&self, name: &str, ordinary: &[&str]) -> Result<HubFolder> {
        let error = match self.resolve(name, None, ordinary) {
            Ok(found) => return Ok(found),
            Err(error) => error,
        };
        let found = ordinary.iter().map(|file| self.resolve_alternative(name, file)).collect::<Result<Vec<_>>>();
        let Some(found) = found.ok().and_then(|mut found| found.pop()) else { return Err(error) };
        if found.folder.join(WEIGHTS).is_file() {
            return Ok(found);
        }
        let names = shards(&found.folder.join(INDEX))?;
        self.resolve(name, None, &names.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn resolve_alternative(&self, name: &str, file: &str) -> Result<HubFolder> {
        match file {
            TOKENIZER => {
                let found = self.resolve_any(name, None, &[TOKENIZER, VOCABULARY])?;
                // The options say whether the vocabulary keeps upper case. A hub that cannot be asked may have some.
                let options = || self.resolve(name, None, &[OPTIONS]);
                if !found.folder.join(TOKENIZER).is_file()
                    && let Err(error) = options()
                    && !self.offline
                    && !error.to_string().contains(NOT_FOUND)
                {
                    return Err(error);
                }
                Ok(found)
            }
            WEIGHTS => self.resolve_any(name, None, &[WEIGHTS, INDEX]),
            file => self.resolve(name, None, &[file]),
        }
    }
}

/// The files that an encoder was read from, which together say what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncoderFiles {
    /// The files of the weights, in the order of their names.
    pub weights: Vec<PathBuf>,
    /// Path of `config.json`, which has the shape of the encoder.
    pub config: PathBuf,
    /// `tokenizer.json`, or `vocab.txt` and, if there is one, the `tokenizer_config.json` that says how to read it; none of
    /// a vision encoder.
    pub tokenizer: Vec<PathBuf>,
    /// Commit of the hub's repository that the files are from; a folder has none.
    pub revision: Option<String>,
}

/// A text encoder of files.
pub struct TextFiles {
    /// Shape of the text encoder, from `config.json`.
    pub config: BertConfig,
    /// Tokenizer of the text encoder, from `tokenizer.json` or `vocab.txt`.
    pub tokenizer: WordTokenizer,
    /// What it was read from, which tells it from other encoders.
    pub files: EncoderFiles,
}

impl TextFiles {
    /// Opens a folder or a repository of the Hugging Face hub, with the settings of the environment.
    ///
    /// # Errors
    /// The name is neither; a file is missing, cannot be fetched or cannot be read; the model is no BERT; or the
    /// tokenizer has more tokens than the embedding has rows.
    pub fn open(name: &str) -> Result<Self> {
        let found = Hub::from_env().resolve_encoder(name, &[CONFIG, TOKENIZER, WEIGHTS])?;
        let path = found.folder.join(CONFIG);
        let config = load_bert(&path)?;
        let (tokenizer, own) = load_tokenizer(&found.folder, &config)?;
        let weights = weights(&found.folder)?;
        let files = EncoderFiles { weights, config: path, tokenizer: own, revision: found.revision };
        Ok(Self { config, tokenizer, files })
    }

    /// Reads shape and tokenizer from a folder, whether it holds weights or not.
    ///
    /// # Errors
    /// A file is missing or cannot be read; the model is no BERT.
    pub fn shape(folder: &Path) -> Result<(BertConfig, WordTokenizer)> {
        let config = load_bert(&folder.join(CONFIG))?;
        let (tokenizer, _) = load_tokenizer(folder, &config)?;
        Ok((config, tokenizer))
    }
}

/// A vision encoder of files.
pub struct VisionFiles {
    /// Shape of the vision encoder, from `config.json`.
    pub config: ClipVisionConfig,
    /// What it was read from, which tells it from other encoders.
    pub files: EncoderFiles,
}

impl VisionFiles {
    /// Opens a folder or a repository of the Hugging Face hub, with the settings of the environment.
    ///
    /// # Errors
    /// The name is neither; a file is missing, cannot be fetched or cannot be read; or the model is no CLIP.
    pub fn open(name: &str) -> Result<Self> {
        let found = Hub::from_env().resolve_encoder(name, &[CONFIG, WEIGHTS])?;
        let path = found.folder.join(CONFIG);
        let config = load_clip(&path)?;
        let weights = weights(&found.folder)?;
        let files = EncoderFiles { weights, config: path, tokenizer: Vec::new(), revision: found.revision };
        Ok(Self { config, files })
    }

    /// Reads the shape from a folder, whether it holds weights or not.
    ///
    /// # Errors
    /// The file is missing or cannot be read; the model is no CLIP.
    pub fn shape(folder: &Path) -> Result<ClipVisionConfig> {
        load_clip(&folder.join(CONFIG))
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
        Ok(VisionFiles::open(dir.path().to_str().unwrap())?.config)
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
        refused(
            r#"{"model_type": "clip_vision_model", "attention_dropout": 1.0}"#,
            true,
            "config.json: attention_dropout is 1, but a probability of dropout must lie in [0, 1)",
        );
    }

    /// A folder of a text encoder with the given files.
    fn text(files: &[(&str, &str)]) -> Result<TextFiles> {
        let dir = tempfile::tempdir().unwrap();
        for (name, content) in files {
            fs_err::write(dir.path().join(name), content).unwrap();
        }
        TextFiles::open(dir.path().to_str().unwrap())
    }

    const WORDS: &str = "[PAD]\n[UNK]\n[CLS]\n[SEP]\ncafe\nplay\n##ing\n,\n";

    #[test]
    fn a_vocabulary_stands_for_a_tokenizer() {
        let config = (CONFIG, r#"{"model_type": "bert", "vocab_size": 8}"#);
        let files = text(&[config, (VOCABULARY, WORDS), (WEIGHTS, "")]).unwrap();
        let names = |files: &TextFiles| -> Vec<_> {
            files.files.tokenizer.iter().map(|path| path.file_name().unwrap().to_owned()).collect()
        };
        let words = ["Café", "playing,", "x"].map(str::to_owned);
        assert_eq!(files.tokenizer.sentence(&words, 20).unwrap().ids, [2, 4, 5, 6, 7, 1, 3]);
        let cased = (OPTIONS, r#"{"do_lower_case": false}"#);
        let plain = names(&files);
        let files = text(&[config, (VOCABULARY, WORDS), cased, (WEIGHTS, "")]).unwrap();
        assert!(plain == [VOCABULARY] && names(&files) == [VOCABULARY, OPTIONS]);
        assert_eq!(files.tokenizer.sentence(&words, 20).unwrap().ids, [2, 1, 5, 6, 7, 1, 3]);
        let missing = text(&[config, (WEIGHTS, "")]).err().unwrap().to_string();
        assert!(missing.contains("tokenizer.json: missing, and so is vocab.txt; save the tokenizer"), "{missing}");
        let few = text(&[(CONFIG, r#"{"vocab_size": 4}"#), (VOCABULARY, WORDS), (WEIGHTS, "")]).err().unwrap();
        assert!(few.to_string().contains("vocab_size is 4, but vocab.txt has 8 tokens"), "{few}");
        let dropout = (CONFIG, r#"{"model_type": "bert", "vocab_size": 8, "hidden_dropout_prob": 1.5}"#);
        let refused = text(&[dropout, (VOCABULARY, WORDS), (WEIGHTS, "")]).err().unwrap().to_string();
        assert!(refused.contains("config.json: hidden_dropout_prob is 1.5"), "{refused}");
    }

    #[test]
    fn weights_in_several_files_are_those_that_the_index_names() {
        let config = (CONFIG, r#"{"model_type": "bert", "vocab_size": 8}"#);
        let index = (
            INDEX,
            r#"{"metadata": {}, "weight_map": {"b": "m-2.safetensors", "a": "m-1.safetensors", "c": "m-2.safetensors"}}"#,
        );
        let words = (VOCABULARY, WORDS);
        let one = ("m-1.safetensors", "");
        let files = text(&[config, words, index, one, ("m-2.safetensors", "")]).unwrap();
        let names: Vec<_> = files.files.weights.iter().map(|path| path.file_name().unwrap()).collect();
        assert_eq!(names, ["m-1.safetensors", "m-2.safetensors"]);
        let refused = |index: &str, words: &str| {
            let error = text(&[config, (VOCABULARY, WORDS), (INDEX, index), one]).err().unwrap().to_string();
            assert!(error.contains(words), "{error}");
        };
        refused(index.1, "m-2.safetensors: missing, and model.safetensors.index.json names it");
        refused("{", "model.safetensors.index.json: not JSON");
        refused(r#"{"weight_map": {"a": "../m-1.safetensors"}}"#, "names a file outside its folder");
        refused(r#"{"weight_map": {}}"#, "names no file");
        refused(r#"{"weights": 1}"#, "has no weight_map");
    }
}
