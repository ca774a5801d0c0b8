//! A saved model, loaded by transformers, computes the states that mkgc computes. `tests/golden/model` is a model that mkgc
//! saved, and `states.safetensors` in it what transformers' `AutoTokenizer`, `BertModel` and `CLIPVisionModel` made of it.
//! `tools/interop/saved_model.py` checks the same on fresh models.
//!
//! To make both again after a change of the layout:
//!
//! ```sh
//! MKGC_MODEL_OUT=$PWD/harness/tests/golden/model cargo test --workspace --test golden_model
//! python tools/golden/saved.py harness/tests/golden/model
//! ```
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor, safetensors};
use common::{Place, shapes, train};
use mkgc_builder::corpus::Extraction;
use mkgc_harness::methods::registry;
use mkgc_harness::model::{ModelState, SavedModel, save};
use mkgc_harness::run::RunFolder;
use mkgc_harness::train::{Request, SaveModel};
use mkgc_models::encoders::{BertConfig, ClipVisionConfig};
use mkgc_models::inputs::{Inputs, Pixels, Visual};
use mkgc_models::mode::Mode;
use mkgc_models::networks::{Dual, DualConfig, Key};
use mkgc_models::ops::Ids;
use mkgc_models::params::ParamStore;
use mkgc_models::pretrained::{TextFiles, VisionFiles, save_tensors, save_text, save_vision};
use mkgc_models::text::WordTokenizer;

const TOLERANCE: f32 = 1e-5;

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/model")
}

/// Writes small encoders as transformers would, text and vision, for a run that begins with them.
fn encoders(folder: &Path, tokenizer: &WordTokenizer) -> [PathBuf; 2] {
    let (text, vision) = shapes();
    let text = BertConfig { vocab_size: tokenizer.vocab_size(), ..text };
    let store = ParamStore::new(5, Device::Cpu);
    Dual::new(&dual(text.clone(), vision.clone()), store.builder()).unwrap();
    let (of_vision, of_text): (BTreeMap<_, _>, BTreeMap<_, _>) =
        store.tensors().unwrap().into_iter().partition(|(name, _)| name.starts_with("vision"));
    let folders = ["text", "vision"].map(|name| folder.join(name));
    folders.iter().for_each(|folder| fs_err::create_dir_all(folder).unwrap());
    save_text(&folders[0], &text, tokenizer, &[]).unwrap();
    save_tensors(&folders[0].join("model.safetensors"), &of_text).unwrap();
    save_vision(&folders[1], &vision).unwrap();
    save_tensors(&folders[1].join("model.safetensors"), &of_vision).unwrap();
    folders
}

fn dual(text: BertConfig, vision: ClipVisionConfig) -> DualConfig {
    DualConfig { text, vision, visual: Visual::Image, shared_layers: 0, key: Key::Own, max_text: 24 }
}

/// Trains `concat` and returns its run.
fn run(place: &Place) -> PathBuf {
    let out = place.built().with_file_name("run");
    let words = place.benchmark(&place.config("concat", "")).training_words().unwrap();
    let tokenizer = WordTokenizer::from_words(words).unwrap();
    let [text, vision] = encoders(&place.built().with_file_name("encoders"), &tokenizer);
    let [encoder, vision] = [text, vision].map(|folder| folder.to_string_lossy().into_owned());
    let save_model = Some(SaveModel::Last);
    train(Request { encoder, vision, save_model, ..place.request("concat", "epochs = 2", &out) }).unwrap();
    out
}

fn close(ours: &Tensor, theirs: &Tensor) {
    let off = (ours - theirs).unwrap().abs().unwrap().flatten_all().unwrap().max(0).unwrap();
    let off = off.to_scalar::<f32>().unwrap();
    assert!(off < TOLERANCE, "off by {off:e}");
}

#[test]
fn transformers_computes_the_same_states() {
    if let Ok(out) = std::env::var("MKGC_MODEL_OUT") {
        let place = Place::new(Extraction::Relations);
        let model = run(&place).join("model");
        copy(&model, Path::new(&out));
        return;
    }
    let folder = golden();
    let states = safetensors::load(folder.join("states.safetensors"), &Device::Cpu).unwrap();
    let (text, tokenizer) = TextFiles::shape(&folder).unwrap();
    let vision = VisionFiles::shape(&folder.join("vision")).unwrap();
    let store = ParamStore::new(0, Device::Cpu).with_pretrained(&folder.join("model.safetensors")).unwrap();
    let store = store.with_pretrained(&folder.join("vision/model.safetensors")).unwrap();
    let network = Dual::new(&dual(text, vision), store.builder()).unwrap();
    store.require_pretrained("").unwrap();
    let pixels = Pixels::Image(states["pixels"].clone());
    let ids = Ids::read(&states["ids"]).unwrap();
    let inputs = Inputs { ids: &ids, mask: &states["mask"], pixels: Some(&pixels), dtype: DType::F32 };
    let encoded = network.forward(&inputs, &mut Mode::Eval).unwrap();
    let real = states["mask"].to_dtype(DType::F32).unwrap().unsqueeze(2).unwrap();
    close(&encoded.text.broadcast_mul(&real).unwrap(), &states["text"].broadcast_mul(&real).unwrap());
    close(&encoded.vision.unwrap(), &states["vision"]);
    // The sentences that `saved.py` tokenises with transformers.
    let rows = states["ids"].to_vec2::<u32>().unwrap();
    for (words, row) in ["Ann met Bob in Rome", "the acme joined nowhere"].into_iter().zip(rows) {
        let words: Vec<String> = words.split(' ').map(str::to_owned).collect();
        let ours = tokenizer.sentence(&words, 24).unwrap().ids;
        assert_eq!(
            (ours.as_slice(), &row[ours.len()..]),
            (&row[..ours.len()], vec![0; row.len() - ours.len()].as_slice())
        );
    }
}

/// So the layout that transformers has read is the one that is written today.
#[test]
fn the_golden_model_is_written_again_to_the_byte() {
    let model = SavedModel::open(&golden(), registry::find, &Device::Cpu, DType::F32).unwrap();
    let place = Place::new(Extraction::Relations);
    let record = RunFolder::new(&run(&place)).record().unwrap();
    let again = place.built().with_file_name("again");
    let tasks_learned = model.card.tasks_learned;
    save(&again, &ModelState { method: &*model.method, spec: &model.spec, record: &record, tasks_learned }).unwrap();
    let files = [
        "config.json",
        "model.safetensors",
        "mkgc.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "vision/config.json",
        "vision/model.safetensors",
        "vision/preprocessor_config.json",
    ];
    for file in files {
        let read = |folder: &Path| fs_err::read(folder.join(file)).unwrap();
        assert!(read(&again) == read(&golden()), "{file} differs");
    }
}

fn copy(from: &Path, to: &Path) {
    fs_err::create_dir_all(to).unwrap();
    for entry in fs_err::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let place = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &place);
        } else {
            fs_err::copy(&path, &place).unwrap();
        }
    }
}
