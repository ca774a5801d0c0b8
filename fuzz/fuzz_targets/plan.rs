//! Plans of sweeps, unfolded to runs on a small benchmark.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mkgc_fuzz::{file, folder, place, seed};
use mkgc_harness::sweep::{Plan, Sweep, SweepOverrides};

const SEEDS: [&str; 4] = [
    include_str!("../../harness/plans/all-methods.toml"),
    include_str!("../../harness/plans/lmc-ablation.toml"),
    include_str!("../../harness/plans/pictures.toml"),
    "methods = ['emr']\nseeds = [1, 2]\ntasks = 2\n[[variants]]\nname = 'v'\nset = { epochs = 1 }\n",
];

fuzz_target!(init: seed(SEEDS), |data: &[u8]| {
    let given = SweepOverrides {
        benchmarks: vec![place::benchmark(false).clone()],
        out: Some(folder().join("sweep")),
        encoder: Some("tiny".to_owned()),
        vision: Some("tiny".to_owned()),
        ..SweepOverrides::default()
    };
    match Plan::read(&file("plan.toml", data)) {
        Ok(plan) => drop(Sweep::new(&plan, &given).map_err(|error| error.to_string())),
        Err(error) => assert!(error.to_string().contains("plan.toml"), "{error}"),
    }
});
