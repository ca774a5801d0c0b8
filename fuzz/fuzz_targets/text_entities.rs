//! JSON records of entities, as tags or as spans.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mkgc_fuzz::{chosen, rows, seed};

const OPTIONS: [&str; 3] = [
    "labels = ['O', 'B-PER', 'I-PER']",
    "tokens = 'w'\ntags = 'n.t'\nscheme = 'bilou'",
    "text = 's'\nspans = 'e'\nspan_end = 'inclusive'\nspan_keys = ['start', 'end', 'label']",
];
const SEEDS: [(u8, &str); 4] = [
    (0, r#"{"tokens": ["Ann", "Lee"], "tags": [1, "I-PER"]}"#),
    (1, r#"{"w": ["Ann", "Lee", "x"], "n": {"t": ["B-PER", "L-PER", "O"]}}"#),
    (2, r#"{"s": "Ann Lee in Rome", "e": [{"start": 0, "end": 1, "label": "PER"}, [3, 3, "LOC"]]}"#),
    (2, r#"{"s": "Ann Lee in Rome", "e": {"start": [0, 3], "end": [1, 3], "label": ["PER", "LOC"]}}"#),
];

fuzz_target!(init: seed(SEEDS.map(|(way, text)| chosen(way, text))), |data: &[u8]| {
    rows::parse("jsonl-entities", &OPTIONS, data)
});
