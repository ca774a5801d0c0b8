//! Parquet files of benchmark folders.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mkgc_builder::corpus::Split;
use mkgc_builder::dataset::BenchmarkFolder;
use mkgc_builder::verify::verify;
use mkgc_fuzz::{choose, chosen, place, seed};

const FILE: &str = "tasks/task_00_test.parquet";

fn seeds() -> Vec<Vec<u8>> {
    let bytes = |entities: bool| std::fs::read(place::benchmark(entities).join(FILE)).unwrap();
    vec![chosen(0, bytes(false)), chosen(1, bytes(true))]
}

/// Puts a file into a benchmark, whose manifest then has its size.
fn replace(entities: bool, bytes: &[u8]) {
    let folder = place::benchmark(entities);
    let path = folder.join("manifest.json");
    let mut manifest: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let files = manifest["files"].as_array_mut().unwrap();
    files.iter_mut().find(|file| file["path"] == FILE).unwrap()["bytes"] = bytes.len().into();
    std::fs::write(path, serde_json::to_vec(&manifest).unwrap()).unwrap();
    std::fs::write(folder.join(FILE), bytes).unwrap();
}

fuzz_target!(init: seed(seeds()), |data: &[u8]| {
    let Some((way, bytes)) = choose(data, 2) else { return };
    replace(way == 1, bytes);
    let folder = place::benchmark(way == 1);
    let _ = BenchmarkFolder::open(folder).unwrap().rows(0, Split::Test).map_err(|error| error.to_string());
    verify(folder).unwrap();
});
