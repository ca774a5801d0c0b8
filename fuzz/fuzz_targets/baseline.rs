//! Baselines of the gate, compared with a run and shown in every format.
#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use mkgc_fuzz::{file, folder, place, seed};
use mkgc_harness::gate::baseline::{Baseline, Tolerance};
use mkgc_harness::gate::observed::{Observations, observe};
use mkgc_harness::gate::{check, junit, show, update};

static RUNS: OnceLock<Observations> = OnceLock::new();

/// Returns the baseline of a run, and the committed one.
fn seeds() -> Vec<Vec<u8>> {
    let runs = RUNS.get_or_init(|| observe(&[place::run(false)]).unwrap());
    let path = folder().join("own.json");
    update::update(None, runs, Some(Tolerance::Absolute(0.1))).unwrap().write(&path).unwrap();
    let committed = include_bytes!("../../reports/baselines/demo-cpu.json");
    vec![std::fs::read(path).unwrap(), committed[..committed.len()].to_vec()]
}

fuzz_target!(init: seed(seeds()), |data: &[u8]| {
    let baseline = match Baseline::read(&file("baseline.json", data)) {
        Ok(baseline) => baseline,
        Err(error) => return assert!(error.to_string().contains("baseline.json"), "{error}"),
    };
    baseline.write(&folder().join("again.json")).unwrap();
    assert_eq!(Baseline::read(&folder().join("again.json")).unwrap(), baseline);
    let runs = RUNS.get().unwrap();
    let outcome = check(&baseline, runs, true);
    show::markdown(&outcome);
    show::annotations(&outcome);
    junit::xml(&outcome).unwrap();
    update::diff(Some(&baseline), &update::update(Some(&baseline), runs, Some(Tolerance::Absolute(0.1))).unwrap());
});
