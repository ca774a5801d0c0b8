//! The trainable BERT computes what candle-transformers' inference-only BERT computes on the same weights.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use candle_core::{DType, Device};
use candle_nn::VarBuilder;
use candle_transformers::models::bert::{BertModel, Config};
use mkgc_models::bert::{Bert, BertConfig};
use mkgc_models::mode::Mode;
use mkgc_models::params::ParamStore;

#[test]
fn last_states_equal_candle_transformers() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/layer.safetensors");
    let config = serde_json::json!({
        "vocab_size": 50, "hidden_size": 48, "num_hidden_layers": 1, "num_attention_heads": 3, "intermediate_size": 96,
        "hidden_act": "gelu", "hidden_dropout_prob": 0.1, "max_position_embeddings": 24, "type_vocab_size": 2,
        "initializer_range": 0.02, "layer_norm_eps": 1e-12, "pad_token_id": 0,
    });
    let ours: BertConfig = serde_json::from_value(config.clone()).unwrap();
    let theirs: Config = serde_json::from_value(config).unwrap();
    let tensors = candle_core::safetensors::load(&path, &Device::Cpu).unwrap();
    let (ids, mask) = (tensors["ids"].clone(), tensors["mask"].clone());
    let reference = BertModel::load(VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu), &theirs).unwrap();
    let store = ParamStore::new(0, Device::Cpu).with_pretrained(&path).unwrap();
    let bert = Bert::new(&ours, store.builder()).unwrap();
    let theirs = reference.forward(&ids, &ids.zeros_like().unwrap(), Some(&mask)).unwrap();
    let output = bert.forward(&ids, &mask, &mut Mode::Eval).unwrap();
    let worst = (output.last() - theirs).unwrap().abs().unwrap().flatten_all().unwrap().max(0).unwrap();
    assert!(worst.to_scalar::<f32>().unwrap() < 1e-5, "{worst}");
}
