//! Predictions of other programs as Parquet.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mkgc_fuzz::{predictions, seed};

fuzz_target!(init: seed(predictions::seeds("parquet")), |data: &[u8]| predictions::check("parquet", data));
