//! An encoder is its weights, its configuration and its tokenizer.

use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use mkgc_builder::corpus::Extraction;
use mkgc_harness::error::Error;
use mkgc_harness::gate::observed::observe;
use mkgc_harness::report;
use mkgc_harness::run::RunFolder;
use mkgc_harness::run::interrupt::Interrupt;
use mkgc_harness::train::Request;
use mkgc_models::encoders::{Bert, BertConfig};
use mkgc_models::params::ParamStore;
use serde_json::{Value, json};

use super::common::{Place, train};
use super::{SHORT, assert_same};

/// Writes a BERT of random weights with the words of the tests, in `files` files of weights.
fn encoder(folder: &Path, files: usize, change: impl Fn(&mut Value)) -> PathBuf {
    let words = "[PAD] [UNK] [CLS] [SEP] ann bob rome acme met visits joined in with the old again";
    let words: Vec<&str> = words.split(' ').collect();
    let mut config = json!({
        "model_type": "bert", "vocab_size": words.len(), "hidden_size": 16, "num_hidden_layers": 2,
        "num_attention_heads": 2, "intermediate_size": 24, "max_position_embeddings": 24,
    });
    let shape: BertConfig = serde_json::from_value(config.clone()).unwrap();
    let store = ParamStore::new(1, Device::Cpu);
    Bert::new(&shape, store.builder()).unwrap();
    fs_err::create_dir_all(folder).unwrap();
    let tensors: Vec<(String, Tensor)> = store.tensors().unwrap().into_iter().collect();
    let mut map = serde_json::Map::new();
    for (number, part) in tensors.chunks(tensors.len().div_ceil(files)).enumerate() {
        let several = format!("model-{:05}-of-{files:05}.safetensors", number + 1);
        let name = if files == 1 { "model.safetensors".to_owned() } else { several };
        map.extend(part.iter().map(|(tensor, _)| (tensor.clone(), name.clone().into())));
        candle_core::safetensors::save(&part.iter().cloned().collect(), folder.join(name)).unwrap();
    }
    if files > 1 {
        let index = json!({"metadata": {}, "weight_map": map});
        fs_err::write(folder.join("model.safetensors.index.json"), index.to_string()).unwrap();
    }
    change(&mut config);
    fs_err::write(folder.join("config.json"), config.to_string()).unwrap();
    fs_err::write(folder.join("vocab.txt"), words.join("\n")).unwrap();
    folder.to_owned()
}

fn request(place: &Place, encoder: &Path, out: &Path) -> Request {
    let encoder = encoder.display().to_string();
    Request { encoder, ..place.request("vanilla", SHORT, out) }
}

#[test]
fn the_same_weights_under_another_configuration_or_tokenizer_are_another_encoder() {
    let place = Place::new(Extraction::Relations);
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let own = encoder(&path("one/bert"), 1, |_| ());
    let heads = encoder(&path("two/bert"), 1, |config| config["num_attention_heads"] = 4.into());
    let words = encoder(&path("three/bert"), 1, |_| ());
    let text = fs_err::read_to_string(words.join("vocab.txt")).unwrap();
    fs_err::write(words.join("vocab.txt"), text.replace("ann\nbob", "bob\nann")).unwrap();
    let cased = encoder(&path("four/bert"), 1, |_| ());
    fs_err::write(cased.join("tokenizer_config.json"), r#"{"do_lower_case": false}"#).unwrap();
    let out = path("run");
    let interrupt = Interrupt::after(5);
    let stopped = train(Request { interrupt, ..request(&place, &own, &out) });
    assert!(matches!(stopped, Err(Error::Interrupted)));
    for other in [&heads, &words, &cased] {
        let error = train(request(&place, other, &out)).unwrap_err().to_string();
        assert!(error.contains("was started with another encoder") && error.contains("a new --out"), "{error}");
    }
    train(request(&place, &own, &out)).unwrap();
    let other = path("other");
    train(Request { settings: seed(&place, 4), ..request(&place, &heads, &other) }).unwrap();

    let prints = |out: &PathBuf| observe(std::slice::from_ref(out)).unwrap().runs.into_values().next().unwrap();
    let (ours, theirs) = (prints(&out), prints(&other));
    let (ours, theirs) = (ours.values().next().unwrap(), theirs.values().next().unwrap());
    assert_eq!(ours.fingerprints["encoder"], theirs.fingerprints["encoder"]);
    assert_eq!(ours.fingerprints["encoder_tokenizer"], theirs.fingerprints["encoder_tokenizer"]);
    assert_ne!(ours.fingerprints["encoder_config"], theirs.fingerprints["encoder_config"]);
    let error = report::boards(report::load(&[&out, &other]).unwrap()).unwrap_err().to_string();
    assert!(error.contains("differ in their encoders") && error.contains("(config "), "{error}");

    // What an older run did not note differs from nothing.
    let record = fs_err::read_to_string(out.join("run.json")).unwrap();
    let mut record: Value = serde_json::from_str(&record).unwrap();
    record["encoder"].as_object_mut().unwrap().retain(|key, _| key == "name" || key == "identity");
    fs_err::write(out.join("run.json"), record.to_string()).unwrap();
    fs_err::remove_file(out.join("result.json")).unwrap();
    train(request(&place, &own, &out)).unwrap();
    assert!(RunFolder::new(&out).record().unwrap().trained().unwrap().encoder.config.is_some());
}

fn seed(place: &Place, seed: u64) -> mkgc_harness::config::Resolved {
    place.request("vanilla", &format!("{SHORT}\ntrain_seed = {seed}"), Path::new("run")).settings
}

#[test]
fn weights_in_several_files_give_the_same_run() {
    let place = Place::new(Extraction::Relations);
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let (one, three) = (encoder(&path("a/bert"), 1, |_| ()), encoder(&path("b/bert"), 3, |_| ()));
    train(request(&place, &one, &path("one"))).unwrap();
    train(request(&place, &three, &path("three"))).unwrap();
    for stage in 0..2 {
        let predictions = |run: &str| fs_err::read(RunFolder::new(&path(run)).predictions(stage)).unwrap();
        assert!(predictions("one") == predictions("three"), "after task {stage}");
    }
    fs_err::remove_file(three.join("model-00002-of-00003.safetensors")).unwrap();
    let error = train(request(&place, &three, &path("missing"))).unwrap_err().to_string();
    assert!(error.contains("model-00002-of-00003.safetensors: missing"), "{error}");
    assert!(!path("missing").exists());
}

/// What vanishes while a run is interrupted is named, and the run goes on once it is back.
#[test]
fn a_run_goes_on_when_its_inputs_are_back() {
    let place = Place::new(Extraction::Relations);
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let own = encoder(&path("bert"), 1, |_| ());
    train(request(&place, &own, &path("whole"))).unwrap();
    let out = path("run");
    let interrupt = Interrupt::after(5);
    train(Request { interrupt, ..request(&place, &own, &out) }).unwrap_err();
    for file in [own.join("model.safetensors"), place.built().join("tasks/task_01_train.parquet")] {
        let away = path("away");
        fs_err::rename(&file, &away).unwrap();
        let error = train(request(&place, &own, &out)).unwrap_err().to_string();
        assert!(error.contains(file.file_name().unwrap().to_str().unwrap()), "{error}");
        fs_err::rename(&away, &file).unwrap();
    }
    train(request(&place, &own, &out)).unwrap();
    assert_same(&path("whole"), &out, "inputs that were away");
}
