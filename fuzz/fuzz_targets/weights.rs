//! `model.safetensors` of encoders.
#![no_main]

use candle_core::{Device, Tensor};
use libfuzzer_sys::fuzz_target;
use mkgc_fuzz::{file, folder, seed};
use mkgc_models::encoders::{Bert, BertConfig};
use mkgc_models::params::ParamStore;

fn config() -> BertConfig {
    BertConfig {
        vocab_size: 3,
        hidden_size: 2,
        num_hidden_layers: 1,
        num_attention_heads: 1,
        intermediate_size: 2,
        max_position_embeddings: 4,
        ..BertConfig::default()
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let store = ParamStore::new(0, Device::Cpu);
    Bert::new(&config(), store.builder()).unwrap();
    let path = folder().join("own.safetensors");
    candle_core::safetensors::save(&store.tensors().unwrap().into_iter().collect(), &path).unwrap();
    let whole = std::fs::read(&path).unwrap();
    let table = Tensor::zeros((3, 2), candle_core::DType::BF16, &Device::Cpu).unwrap();
    let small = [("embeddings.word_embeddings.weight", table)].into_iter().collect();
    candle_core::safetensors::save(&small, &path).unwrap();
    vec![whole, std::fs::read(&path).unwrap()]
}

fuzz_target!(init: seed(seeds()), |data: &[u8]| {
    let path = file("model.safetensors", data);
    match ParamStore::new(0, Device::Cpu).with_pretrained(&path) {
        Ok(store) => {
            let _ = Bert::new(&config(), store.builder()).map_err(|error| error.to_string());
            let _ = store.require_pretrained("embeddings.");
        }
        Err(error) => assert!(error.to_string().contains("model.safetensors"), "{error}"),
    }
});
