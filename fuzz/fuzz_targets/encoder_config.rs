//! `config.json` of encoders, with the networks that are made of it.
#![no_main]

use candle_core::{DType, Device, Tensor};
use libfuzzer_sys::fuzz_target;
use mkgc_fuzz::{choose, chosen, file, folder, seed};
use mkgc_models::encoders::{Bert, BertConfig, ClipVision, ClipVisionConfig};
use mkgc_models::inputs::Visual;
use mkgc_models::params::ParamStore;
use mkgc_models::pretrained::{TextFiles, VisionFiles};

const BERT: &str = r#"{"model_type": "bert", "vocab_size": 8, "hidden_size": 4, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 4, "max_position_embeddings": 8, "hidden_act": "gelu", "hidden_dropout_prob": 0.1, "layer_norm_eps": 1e-12, "type_vocab_size": 2, "pad_token_id": 0, "position_embedding_type": "absolute"}"#;
const CLIP: &str = r#"{"model_type": "clip", "vision_config": {"hidden_size": 4, "intermediate_size": 4, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 8, "patch_size": 4, "hidden_act": "quick_gelu", "num_channels": 3}}"#;
const TOKENIZER: &str = r###"{"version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": {"type": "Lowercase"}, "pre_tokenizer": {"type": "Whitespace"}, "post_processor": null, "decoder": null, "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100, "vocab": {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "a": 4, "##b": 5}}}"###;

fn store(weights: &std::path::Path) -> ParamStore {
    ParamStore::new(0, Device::Cpu).with_pretrained(weights).unwrap()
}

fn bert(config: &BertConfig, store: &ParamStore) -> candle_core::Result<()> {
    Bert::new(config, store.builder())?;
    store.require_pretrained("embeddings.").and_then(|()| store.require_pretrained("encoder.layer.")).ok();
    Ok(())
}

fn clip(config: &ClipVisionConfig, store: &ParamStore) -> candle_core::Result<()> {
    for visual in [Visual::Image, Visual::Crops] {
        config.tokens(visual)?;
        ClipVision::new(config, visual, store.builder())?;
    }
    Ok(())
}

/// Writes folders of a BERT and a CLIP with the weights that fit the seeds.
fn prepare() {
    for (kind, config) in [("bert", BERT), ("clip", CLIP)] {
        file(&format!("{kind}/config.json"), config.as_bytes());
        file(&format!("{kind}/tokenizer.json"), TOKENIZER.as_bytes());
        let path = folder().join(kind).join("model.safetensors");
        let one = Tensor::zeros(1, DType::F32, &Device::Cpu).unwrap();
        candle_core::safetensors::save(&[("x", one)].into_iter().collect(), &path).unwrap();
        let own = ParamStore::new(0, Device::Cpu);
        let name = folder().join(kind).to_string_lossy().into_owned();
        match kind {
            "bert" => bert(&TextFiles::open(&name).unwrap().config, &own).unwrap(),
            _ => {
                drop(ClipVision::new(&VisionFiles::open(&name).unwrap().config, Visual::Image, own.builder()).unwrap())
            }
        }
        candle_core::safetensors::save(&own.tensors().unwrap().into_iter().collect(), &path).unwrap();
    }
}

fuzz_target!(init: {
    seed([chosen(0, BERT), chosen(1, CLIP)]);
    prepare();
}, |data: &[u8]| {
    let Some((way, bytes)) = choose(data, 2) else { return };
    let kind = ["bert", "clip"][way];
    file(&format!("{kind}/config.json"), bytes);
    let name = folder().join(kind).to_string_lossy().into_owned();
    if way == 0 {
        let Ok(files) = TextFiles::open(&name) else { return };
        let _ = bert(&files.config, &store(&files.files.weights[0]));
    } else {
        let Ok(files) = VisionFiles::open(&name) else { return };
        let _ = clip(&files.config, &store(&files.files.weights[0]));
    }
});
