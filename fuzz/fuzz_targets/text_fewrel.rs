//! Files of FewRel: a JSON object of relations.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mkgc_fuzz::{rows, seed};

const SEED: &str = r#"{"P6": [{"tokens": ["Ann", "met", "Bob"], "h": ["ann", "Q1", [[0]]], "t": ["bob", "Q2", [[2], [1]]]}],
"P7": [{"tokens": ["a", "b"], "h": ["a", "Q1", [[0, 1]]], "t": ["b", "Q2", [[1]]]}]}"#;

fuzz_target!(init: seed([SEED]), |data: &[u8]| rows::parse("fewrel", &[""], data));
