//! Manifests of benchmark folders.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mkgc_builder::corpus::Split;
use mkgc_builder::dataset::BenchmarkFolder;
use mkgc_builder::verify::{other_files, verify};
use mkgc_fuzz::{place, seed};

fn seeds() -> Vec<Vec<u8>> {
    [false, true].map(|entities| std::fs::read(place::benchmark(entities).join("manifest.json")).unwrap()).into()
}

fuzz_target!(init: seed(seeds()), |data: &[u8]| {
    let folder = place::benchmark(false);
    std::fs::write(folder.join("manifest.json"), data).unwrap();
    let _ = verify(folder).map_err(|error| error.to_string());
    let _ = other_files(folder);
    let Ok(benchmark) = BenchmarkFolder::open(folder) else { return };
    let labels = benchmark.manifest().label_set();
    let tasks = benchmark.manifest().tasks.len();
    for task in 0..tasks.min(3) {
        labels.known_after(task);
        Split::ALL.map(|split| benchmark.rows(task, split).map_err(|error| error.to_string()).map(drop)).to_vec();
    }
});
