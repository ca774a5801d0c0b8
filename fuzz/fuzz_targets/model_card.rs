//! `mkgc.json` of saved models.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mkgc_fuzz::{file, folder, place, seed};
use mkgc_harness::model::ModelCard;
use mkgc_harness::run::RunFolder;
use serde_json::json;

/// Returns the card of a network that a run on each of the benchmarks would keep.
fn seeds() -> Vec<Vec<u8>> {
    [false, true].map(|entities| card(&place::run(entities))).into()
}

fn card(run: &std::path::Path) -> Vec<u8> {
    let record = std::fs::read(RunFolder::new(run).dir().join("run.json")).unwrap();
    let record: serde_json::Value = serde_json::from_slice(&record).unwrap();
    let mut card = json!({"schema_version": 1, "tasks_learned": 1, "text_alone": true});
    for key in ["code_version", "method", "dataset", "encoder", "dtype", "config"] {
        card[key] = record[key].clone();
    }
    let path = file("mkgc.json", card.to_string().as_bytes());
    ModelCard::read(folder()).unwrap();
    std::fs::read(path).unwrap()
}

fuzz_target!(init: seed(seeds()), |data: &[u8]| {
    file("mkgc.json", data);
    match ModelCard::read(folder()) {
        Ok(card) => assert!(!card.title().is_empty()),
        Err(error) => assert!(error.to_string().contains("mkgc.json"), "{error}"),
    }
});
