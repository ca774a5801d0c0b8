//! JSON records of relations with field names of their own.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mkgc_fuzz::{chosen, rows, seed};

const OPTIONS: [&str; 4] = [
    "span_end = 'exclusive'\nlabels = ['none', 'a']",
    "tokens = 'token'\nhead = 'h.pos'\ntail = 't.pos'\nhead_name = 'h.name'\ntail_name = 't.name'\nspan_end = 'inclusive'\nimage = 'img'\nid = 'id'",
    "text = 's'\nhead = ['a', 'b']\ntail = ['c', 'd.0']\nspan_end = 'exclusive'",
    "span_end = 'indices'",
];
const SEEDS: [(u8, &str); 4] = [
    (0, r#"{"tokens": ["Ann", "x"], "head": [0, 1], "tail": {"start": 1, "end": 2}, "relation": 1}"#),
    (
        1,
        r#"[{"id": 7, "token": ["Ann", "\ud83d\ude00"], "h": {"pos": [0, 0], "name": "ann"}, "t": {"pos": [1, 1], "name": "😀"}, "img": "a.jpg", "relation": null}]"#,
    ),
    (2, r#"{"s": "Ann met Bob", "a": 0, "b": 1, "c": 2, "d": [3], "relation": "r"}"#),
    (3, r#"{"tokens": ["Ann", "x"], "head": [[0], [1]], "tail": [0, 1], "relation": "r"}"#),
];

fuzz_target!(init: seed(SEEDS.map(|(way, text)| chosen(way, text))), |data: &[u8]| {
    rows::parse("jsonl-relations", &OPTIONS, data)
});
