//! Sentences to label as text, JSON lines and CoNLL columns.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use mkgc_builder::corpus::Extraction;
use mkgc_fuzz::{choose, chosen, seed};
use mkgc_harness::predict::{InputFormat, read};

const WAYS: [(InputFormat, Extraction); 4] = [
    (InputFormat::Text, Extraction::Entities),
    (InputFormat::Conll, Extraction::Entities),
    (InputFormat::Jsonl, Extraction::Entities),
    (InputFormat::Jsonl, Extraction::Relations),
];

const SEEDS: [(u8, &str); 5] = [
    (0, "Ann met Bob\n\n  Rome # \n"),
    (1, "IMGID:7\nAnn\tNNP\tB-PER\nmet\t\tO\n\n-DOCSTART- -X- O\n\nRome NNP O\n# NN O\n"),
    (2, "{\"tokens\": [\"Ann\"], \"id\": 7, \"image\": {\"bytes\": null}}\n{\"text\": \"Rome #\", \"img_id\": \"b.jpg\"}\n"),
    (3, "{\"tokens\": [\"a\", \"b\"], \"head\": [0, 1], \"tail\": {\"name\": \"b\", \"start\": 1, \"end\": 2}}\n"),
    (3, "{\"token\": [\"a\", \"b\"], \"h\": {\"pos\": [0, 1]}, \"t\": {\"pos\": [1, 2]}}\n"),
];

fuzz_target!(init: seed(SEEDS.map(|(way, text)| chosen(way, text))), |data: &[u8]| {
    let Some((way, bytes)) = choose(data, WAYS.len()) else { return };
    let (format, kind) = WAYS[way];
    let sentences = match read(Path::new("in.txt"), bytes, format, kind) {
        Ok(sentences) => sentences,
        Err(error) => return assert!(error.to_string().starts_with("in.txt"), "{error}"),
    };
    assert!(!sentences.is_empty());
    for sentence in sentences {
        let words = sentence.tokens.len();
        assert!(words > 0 && sentence.mentions.is_some() == (kind == Extraction::Relations));
        let inside = |span: &std::ops::Range<usize>| span.start < span.end && span.end <= words;
        assert!(sentence.mentions.iter().flatten().all(inside));
    }
});
