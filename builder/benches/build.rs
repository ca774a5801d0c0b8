//! Parsing, planning and a whole text-only build of a synthetic corpus of MNRE's size: `cargo bench -p mkgc-builder`.
#![allow(clippy::unwrap_used, missing_docs)]

use criterion::{Criterion, criterion_group, criterion_main};
use mkgc_builder::build::{BuildOptions, build};
use mkgc_builder::corpus::{CorpusKind, OnError, read};
use mkgc_builder::plan::plan;
use mkgc_builder::protocol::Protocol;

const RELATIONS: [&str; 4] = ["None", "/per/per/peer", "/per/org/member_of", "/loc/loc/contain"];
const PROTOCOL: &str = "name = \"bench\"\ncorpus = \"mnre\"\nclasses = [\"/per/per/peer\", \"/per/org/member_of\", \"/loc/loc/contain\"]\nn_tasks = 3\n";

fn line(row: usize) -> String {
    let (words, relation) = (vec!["'word'"; 12 + row % 10].join(", "), RELATIONS[row % 4]);
    format!(
        "{{'token': [{words}], 'h': {{'name': 'word', 'pos': [0, 1]}}, 't': {{'name': 'word', 'pos': [4, 5]}}, \
         'img_id': 'twitter_{row}.jpg', 'relation': '{relation}'}}\n"
    )
}

fn benches(criterion: &mut Criterion) {
    let dir = tempfile::tempdir().unwrap();
    let raw = dir.path().join("raw");
    std::fs::create_dir(&raw).unwrap();
    for (split, rows) in [("train", 12_247), ("val", 1_624), ("test", 1_614)] {
        std::fs::write(raw.join(format!("mnre_{split}.txt")), (0..rows).map(line).collect::<String>()).unwrap();
    }
    let protocol = dir.path().join("bench.toml");
    std::fs::write(&protocol, PROTOCOL).unwrap();
    criterion
        .bench_function("parse 15,485 MNRE lines", |b| b.iter(|| read(CorpusKind::Mnre, &raw, OnError::Fail).unwrap()));
    let corpus = read(CorpusKind::Mnre, &raw, OnError::Fail).unwrap();
    let parsed = Protocol::parse(PROTOCOL).unwrap();
    criterion.bench_function("plan 15,485 rows", |b| b.iter(|| plan(&corpus, &parsed, false).unwrap()));
    let mut options = BuildOptions::new(protocol.to_string_lossy(), raw, dir.path().join("out"));
    options.force = true;
    let mut group = criterion.benchmark_group("build");
    group.sample_size(10);
    group.bench_function("text only", |b| b.iter(|| build(&options).unwrap()));
    group.finish();
}

criterion_group!(all, benches);
criterion_main!(all);
