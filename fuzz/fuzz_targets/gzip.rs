//! Compressed files of a corpus, and files of class ids.
#![no_main]

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use libfuzzer_sys::fuzz_target;
use mkgc_builder::corpus::{self, OnError, read};
use mkgc_builder::protocol::Protocol;
use mkgc_fuzz::{choose, chosen, file, folder, seed};

const PROTOCOL: &str = "name = 'p'\nn_tasks = 1\n[corpus]\nname = 'c'\nformat = 'conll'\ntrain = ['gz/a.gz', 'gz/b']\n";

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn seeds() -> Vec<Vec<u8>> {
    let text = gzip(b"Ann B-PER\nmet O\n");
    let twice = [text.clone(), text.clone()].concat();
    vec![chosen(0, text), chosen(0, twice), chosen(1, r#"{"None": 0, "/per/per/peer": 1, "/a": 2}"#)]
}

fuzz_target!(init: seed(seeds()), |data: &[u8]| {
    let Some((way, bytes)) = choose(data, 2) else { return };
    if way == 0 {
        file("gz/a.gz", bytes);
        file("gz/b", b"Bob B-PER\n");
        let spec = Protocol::parse(PROTOCOL).unwrap().corpus.spec().unwrap();
        for on_error in [OnError::Fail, OnError::Skip] {
            let _ = read(&spec, folder(), on_error).map_err(|error| error.to_string());
        }
    } else {
        file("ids/ours_rel2id.json", bytes);
        for split in ["train", "val", "test"] {
            let row = "{'token': ['a', 'b'], 'h': {'name': 'a', 'pos': [0, 1]}, 't': {'name': 'b', 'pos': [1, 2]}, 'img_id': 'y', 'relation': '/a'}";
            file(&format!("ids/mnre_{split}.txt"), row.as_bytes());
        }
        let spec = corpus::find("mnre").unwrap();
        let _ = read(&spec, &folder().join("ids"), OnError::Skip).map_err(|error| error.to_string());
    }
});
