//! The life of one run: interrupted at any step, locked, failed, resumed.
#![allow(clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;

mod encoders;
mod inside;
mod locks;
mod settings;
#[cfg(unix)]
mod signals;

use std::path::Path;

use serde_json::Value;

/// Settings of short runs in which nothing is switched off that has a state of its own: dropout, noise, schedules.
const SHORT: &str =
    "epochs = 2\nmemory_epochs = 2\nhead_dropout = 0.3\nnoise = true\nschedule = \"linear\"\nwarmup = 0.2";

/// The files of a run that the same command must write again, byte for byte; of times, nothing is kept.
fn written(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<String> = (0..2).map(|stage| format!("stages/{stage}/predictions.parquet")).collect();
    files.push("result.json".to_owned());
    let mut written: Vec<(String, Vec<u8>)> =
        files.into_iter().map(|name| (name.clone(), fs_err::read(folder.join(&name)).unwrap())).collect();
    let json = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    let mut record = json(&fs_err::read_to_string(folder.join("run.json")).unwrap());
    record["cost"]["wall_seconds"].take();
    written.push(("run.json".to_owned(), record.to_string().into_bytes()));
    let lines = fs_err::read_to_string(folder.join("metrics.jsonl")).unwrap();
    let timeless = lines.lines().map(|text| {
        let mut line = json(text);
        line["samples_per_s"].take();
        line["memory_mib"].take();
        format!("{line}\n")
    });
    written.push(("metrics.jsonl".to_owned(), timeless.collect::<String>().into_bytes()));
    written
}

/// Checks that two runs have written the same.
fn assert_same(one: &Path, other: &Path, what: &str) {
    for ((name, ours), (_, theirs)) in written(one).into_iter().zip(written(other)) {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(ours == theirs, "{what}: {name} differs\n{}\n{}", text(&ours), text(&theirs));
    }
}
