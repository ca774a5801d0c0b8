//! Files of TACRED: a JSON array of sentences.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mkgc_fuzz::{rows, seed};

const SEED: &str = r#"[{"id": "e7", "relation": "per:title", "token": ["Ann", "is", "a", "-LRB-"], "subj_start": 0, "subj_end": 0, "obj_start": 2, "obj_end": 3, "subj_type": "PERSON"},
{"id": "e8", "relation": "no_relation", "token": ["a", "b"], "subj_start": 0, "subj_end": 0, "obj_start": 1, "obj_end": 1}]"#;

fuzz_target!(init: seed([SEED]), |data: &[u8]| rows::parse("tacred", &[""], data));
