//! Files of MNRE: a Python literal per line.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mkgc_fuzz::{rows, seed};

const SEED: &str = r#"{'token': ['Ann', 'met', u'B\x41\u20ac', "it's"], 'h': {'name': 'Ann', 'pos': [0, 1]}, 't': {'name': 'BA€', 'pos': [2, 3]}, 'img_id': 'x.jpg', 'relation': '/per/per/peer'}
{"token": ("a", "b"), "h": {"name": "a", "pos": [0, 1]}, "t": {"name": "b", "pos": [1, 2]}, "img_id": "y.jpg", "relation": "None", "n": -1, "o": None, "p": True}
"#;

fuzz_target!(init: seed([SEED]), |data: &[u8]| rows::parse("mnre", &[""], data));
