//! The trainable encoders compute what candle-transformers' inference-only ones compute on the same weights.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use candle_core::{DType, Device, Tensor};
use candle_nn::{Module, VarBuilder};
use candle_transformers::models::bert::{BertModel, Config};
use candle_transformers::models::clip::text_model::Activation;
use candle_transformers::models::clip::vision_model::{ClipVisionConfig as TheirClipConfig, ClipVisionTransformer};
use mkgc_models::encoders::{Bert, BertConfig, ClipVision, ClipVisionConfig};
use mkgc_models::inputs::{Pixels, Visual};
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
    let ids = tensors["ids"].clone();
    let mask = tensors["mask"].clone();
    let reference = BertModel::load(VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu), &theirs).unwrap();
    let store = ParamStore::new(0, Device::Cpu).with_pretrained(&path).unwrap();
    let bert = Bert::new(&ours, store.builder()).unwrap();
    let theirs = reference.forward(&ids, &ids.zeros_like().unwrap(), Some(&mask)).unwrap();
    let output = bert.forward(&ids, &mask, &mut Mode::Eval).unwrap();
    assert!(distance(output.last(), &theirs) < 1e-5);
}

#[test]
fn class_states_equal_those_of_clip_in_candle_transformers() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/clip_quick_gelu.safetensors");
    let ours = ClipVisionConfig {
        hidden_size: 24,
        intermediate_size: 36,
        num_hidden_layers: 2,
        num_attention_heads: 2,
        image_size: 32,
        patch_size: 8,
        ..ClipVisionConfig::default()
    };
    let theirs = TheirClipConfig {
        embed_dim: ours.hidden_size,
        activation: Activation::QuickGelu,
        intermediate_size: ours.intermediate_size,
        num_hidden_layers: ours.num_hidden_layers,
        num_attention_heads: ours.num_attention_heads,
        projection_dim: 0,
        num_channels: ours.num_channels,
        image_size: ours.image_size,
        patch_size: ours.patch_size,
    };
    let tensors = candle_core::safetensors::load(&path, &Device::Cpu).unwrap();
    let pixels = tensors["pixels"].clone();
    let builder = VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu).pp("vision_model");
    let reference = ClipVisionTransformer::new(builder, &theirs).unwrap().forward(&pixels).unwrap();
    let store = ParamStore::new(0, Device::Cpu).with_pretrained(&path).unwrap();
    let clip = ClipVision::new(&ours, Visual::Image, store.builder()).unwrap();
    let output = clip.forward(&Pixels::Image(pixels), &mut Mode::Eval).unwrap();
    let class = clip.post_norm(output.last()).unwrap().narrow(1, 0, 1).unwrap().squeeze(1).unwrap();
    assert!(distance(&class, &reference) < 1e-5);
}

/// Returns the largest difference between two values.
fn distance(a: &Tensor, b: &Tensor) -> f32 {
    (a - b).unwrap().abs().unwrap().max_all().unwrap().to_scalar().unwrap()
}
