//! Writes encoders as folders that `transformers` and this crate open: `config.json`, `model.safetensors` and, for text,
//! `tokenizer.json`.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use serde::Serialize;
use serde_json::{Value, json};

use crate::encoders::{BertConfig, ClipVisionConfig};
use crate::error::{Error, Result};
use crate::text::WordTokenizer;

/// Writes tensors as f32 to a safetensors file, in an order that depends on their names alone.
///
/// # Errors
/// A tensor cannot be copied from its device, or the file cannot be written.
pub fn save_tensors(path: &Path, tensors: &BTreeMap<String, Tensor>) -> Result<()> {
    let mut on_host = BTreeMap::new();
    for (name, tensor) in tensors {
        let dtype = if tensor.dtype() == DType::U32 { DType::U32 } else { DType::F32 };
        on_host.insert(name, tensor.to_dtype(dtype)?.to_device(&Device::Cpu)?.contiguous()?);
    }
    // Without this entry, transformers refuses the file.
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let failed = |error: safetensors::SafeTensorError| Error::encoder(path, format!("cannot be written: {error}"));
    safetensors::serialize_to_file(on_host, Some(metadata), path).map_err(failed)
}

/// Writes the shape of a BERT and its tokenizer: `config.json`, `tokenizer.json` and `tokenizer_config.json`. `labels` are
/// the names of the labels by id, which transformers keeps as `id2label`.
///
/// # Errors
/// The folder cannot be written.
pub fn save_text(folder: &Path, config: &BertConfig, tokenizer: &WordTokenizer, labels: &[String]) -> Result<()> {
    let id2label: serde_json::Map<String, Value> =
        labels.iter().enumerate().map(|(id, name)| (id.to_string(), json!(name))).collect();
    let label2id: serde_json::Map<String, Value> =
        labels.iter().enumerate().map(|(id, name)| (name.clone(), json!(id))).collect();
    let further = json!({
        "model_type": "bert",
        "architectures": ["BertModel"],
        "id2label": id2label,
        "label2id": label2id,
    });
    write_json(&folder.join("config.json"), &merged(config, further)?)?;
    fs_err::write(folder.join("tokenizer.json"), tokenizer.to_json()?)?;
    let [pad, unknown, class, separator] = WordTokenizer::specials();
    let tokens = json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": config.max_position_embeddings,
        "pad_token": pad,
        "unk_token": unknown,
        "cls_token": class,
        "sep_token": separator,
    });
    write_json(&folder.join("tokenizer_config.json"), &tokens)
}

/// Writes the shape of a CLIP vision transformer and what its pictures go through: `config.json` and
/// `preprocessor_config.json`.
///
/// # Errors
/// The folder cannot be written.
pub fn save_vision(folder: &Path, config: &ClipVisionConfig) -> Result<()> {
    let further = json!({"model_type": "clip_vision_model", "architectures": ["CLIPVisionModel"]});
    write_json(&folder.join("config.json"), &merged(config, further)?)?;
    let side = config.image_size;
    let [mean, deviation] = crate::pixels::statistics();
    let pixels = json!({
        "image_processor_type": "CLIPImageProcessor",
        "do_resize": true,
        "size": {"shortest_edge": side},
        "resample": 3,
        "do_center_crop": true,
        "crop_size": {"height": side, "width": side},
        "do_rescale": true,
        "rescale_factor": 1.0 / 255.0,
        "do_normalize": true,
        "image_mean": mean,
        "image_std": deviation,
        "do_convert_rgb": true,
    });
    write_json(&folder.join("preprocessor_config.json"), &pixels)
}

/// Returns a shape as JSON with further entries, without those that are null.
fn merged(config: &impl Serialize, further: Value) -> Result<Value> {
    let unwritable = |error: serde_json::Error| Error::State(format!("a configuration cannot be written: {error}"));
    let mut value = serde_json::to_value(config).map_err(unwritable)?;
    if let (Value::Object(entries), Value::Object(further)) = (&mut value, further) {
        entries.extend(further);
        entries.retain(|_, value| !value.is_null());
    }
    Ok(value)
}

fn write_json(path: &Path, value: &Value) -> Result<()> {
    Ok(fs_err::write(path, format!("{value:#}\n"))?)
}
