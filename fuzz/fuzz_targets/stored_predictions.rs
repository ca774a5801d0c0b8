//! `predictions.parquet` of a run, with the metrics that are computed of it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mkgc_fuzz::{choose, chosen, folder, place, seed};
use mkgc_harness::metrics::score::score_run;
use mkgc_harness::run::RunFolder;

const FILE: &str = "stages/1/predictions.parquet";

fn seeds() -> Vec<Vec<u8>> {
    let bytes = |entities: bool| std::fs::read(place::run(entities).join(FILE)).unwrap();
    vec![chosen(0, bytes(false)), chosen(1, bytes(true))]
}

fuzz_target!(init: seed(seeds()), |data: &[u8]| {
    let Some((way, bytes)) = choose(data, 2) else { return };
    let run = folder().join(["run-relations", "run-entities"][way]);
    std::fs::write(run.join(FILE), bytes).unwrap();
    let _ = score_run(&RunFolder::new(&run)).map_err(|error| error.to_string());
});
