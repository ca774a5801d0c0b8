//! The other files of a run folder as JSON: `result.json`, `failure.json`, `metrics.jsonl` and that of a checkpoint.
#![no_main]

use candle_core::Device;
use libfuzzer_sys::fuzz_target;
use mkgc_fuzz::{choose, chosen, folder, place, seed};
use mkgc_harness::metrics::score::RunResult;
use mkgc_harness::report;
use mkgc_harness::run::{RunFolder, checkpoint};

const RESULTS: [&str; 4] = [
    include_str!("../../harness/tests/fixtures/result-version-1.json"),
    include_str!("../../harness/tests/fixtures/result-version-2.json"),
    include_str!("../../harness/tests/fixtures/result-version-3.json"),
    include_str!("../../harness/tests/fixtures/result-version-4.json"),
];
const FAILURE: &str = r#"{"schema_version": 4, "code_version": "0.7.0", "tasks_learned": 1, "error": ["a", "b"]}"#;
const METRICS: &str = r#"{"stage": 0, "epoch": 0, "step": 1, "loss": 1.5, "lr_encoder": 1e-5, "samples_per_s": 3.0, "memory_mib": 5, "scalars": {"rho": [[1, 0.5]]}}
{"stage": 1, "epoch": 0, "step": 1, "loss": 1.0, "lr_encoder": 1e-5, "samples_per_s": 3.0, "memory_mib": 5}
"#;
const STATE: &str = r#"{"stage": 0, "tensors": "stage_0.safetensors", "memory": [["a"], []], "cost": {"optimiser_steps": 1, "tuning_steps": 0, "wall_seconds": 1.0, "stored_rows": 0, "stored_by_class": {}}}"#;

fn seeds() -> Vec<Vec<u8>> {
    let run = place::run(false);
    let own = |name: &str| std::fs::read(run.join(name)).unwrap();
    let result = own("result.json");
    let results = RESULTS.iter().map(|text| text.as_bytes().to_vec()).chain([result]);
    let others = [(1, FAILURE), (2, METRICS), (3, STATE)].map(|(way, text)| chosen(way, text));
    results.map(|bytes| chosen(0, bytes)).chain(others).chain([chosen(2, own("metrics.jsonl"))]).collect()
}

fn report() {
    let Ok(loaded) = report::load(&[folder().join("run-relations")]) else { return };
    // A report of failed runs alone is refused.
    let Ok(boards) = report::boards(loaded) else { return };
    report::write(&boards, &folder().join("report")).unwrap();
}

fuzz_target!(init: seed(seeds()), |data: &[u8]| {
    let Some((way, bytes)) = choose(data, 4) else { return };
    let path = folder().join("run-relations");
    let run = RunFolder::new(&path);
    std::fs::create_dir_all(run.checkpoint()).unwrap();
    let names = ["result.json", "failure.json", "metrics.jsonl", "checkpoint/state.json"];
    std::fs::write(path.join("result.json"), RESULTS[3]).unwrap();
    std::fs::write(path.join(names[way]), bytes).unwrap();
    match way {
        0 => drop(RunResult::read(&run).map_err(|error| error.to_string())),
        1 => {
            std::fs::remove_file(run.result()).unwrap();
            report();
        }
        2 => report(),
        _ => drop(checkpoint::load(&run.checkpoint(), &Device::Cpu).map_err(|error| error.to_string())),
    }
});
