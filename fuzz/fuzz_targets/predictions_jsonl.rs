//! Predictions of other programs as JSON lines.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mkgc_fuzz::{predictions, seed};

fuzz_target!(init: seed(predictions::seeds("jsonl")), |data: &[u8]| predictions::check("jsonl", data));
