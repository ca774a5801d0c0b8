//! Predictions of other programs as CSV.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mkgc_fuzz::{predictions, seed};

fuzz_target!(init: seed(predictions::seeds("csv")), |data: &[u8]| predictions::check("csv", data));
