//! Files of columns: CoNLL in its variants, and tweets with their pictures.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mkgc_fuzz::{choose, chosen, rows, seed};

const CONLL: [&str; 5] = [
    "",
    "token_column = 1\ntag_column = -2\nseparator = 'blanks'\ncomment = '#'",
    "scheme = 'bioes'\nseparator = 'tab'",
    "scheme = 'io'",
    "scheme = 'iob1'",
];
const SEEDS: [(u8, &str); 6] = [
    (0, "-DOCSTART- -X- O\n\nAnn NNP B-PER\nmet V O\nBob NNP B-PER\nLee NNP I-PER\n\nRome NNP B-LOC\n"),
    (1, "# text\n1 Ann B-PER _\r\n2 Lee I-PER _\r\n\r\n1 x O _\r\n"),
    (2, "Ann\tS-PER\nLee\tB-LOC\nx\tI-LOC\ny\tE-LOC\n"),
    (3, "Ann\tPER\nLee\tI-LOC\n"),
    (4, "Ann\tI-PER\nLee\tB-PER\n"),
    (5, "IMGID:7\nAnn\tB-PER\nmet\tO\n\nIMGID:8\nRome\tB-LOC\n"),
];

fuzz_target!(init: seed(SEEDS.map(|(way, text)| chosen(way, text))), |data: &[u8]| {
    match choose(data, 6) {
        Some((5, bytes)) => rows::parse("twitter", &[""], bytes),
        Some(_) => rows::parse("conll", &CONLL, data),
        None => {}
    }
});
