//! Plans of sweeps.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mkgc_fuzz::{file, seed};
use mkgc_harness::sweep::Plan;

const SEEDS: [&str; 4] = [
    include_str!("../../harness/plans/all-methods.toml"),
    include_str!("../../harness/plans/lmc-ablation.toml"),
    include_str!("../../harness/plans/pictures.toml"),
    "methods = ['emr']\nseeds = [1, 2]\ntasks = 2\n[[variants]]\nname = 'v'\nset = { epochs = 1 }\n",
];

fuzz_target!(init: seed(SEEDS), |data: &[u8]| {
    match Plan::read(&file("plan.toml", data)) {
        Ok(plan) => drop(plan.runs()),
        Err(error) => assert!(error.to_string().contains("plan.toml"), "{error}"),
    }
});
