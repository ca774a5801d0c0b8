//! `run.json`, with the report over its run.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mkgc_fuzz::{folder, place, seed};
use mkgc_harness::gate::observed::observe;
use mkgc_harness::report;

fn seeds() -> Vec<Vec<u8>> {
    let own = std::fs::read(place::run(false).join("run.json")).unwrap();
    let old: [&[u8]; 4] = [
        include_bytes!("../../harness/tests/fixtures/run-version-1.json"),
        include_bytes!("../../harness/tests/fixtures/run-version-2.json"),
        include_bytes!("../../harness/tests/fixtures/run-version-3.json"),
        include_bytes!("../../harness/tests/fixtures/run-version-4.json"),
    ];
    std::iter::once(own).chain(old.map(<[u8]>::to_vec)).collect()
}

fuzz_target!(init: seed(seeds()), |data: &[u8]| {
    let run = folder().join("run-relations");
    std::fs::write(run.join("run.json"), data).unwrap();
    let _ = observe(std::slice::from_ref(&run)).map(drop).map_err(|error| error.to_string());
    let Ok(loaded) = report::load(&[run]) else { return };
    if let Ok(boards) = report::boards(loaded) {
        let _ = report::write(&boards, &folder().join("report")).map_err(|error| error.to_string());
    }
});
