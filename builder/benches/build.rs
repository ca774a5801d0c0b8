//! Times parsing, planning, a whole text-only build and the writing of pictures, on a synthetic corpus of MNRE's size and
//! pictures of 100 KB: `cargo bench --workspace --bench build`.
#![allow(clippy::unwrap_used, missing_docs)]

use std::path::Path;

use criterion::{Criterion, criterion_group, criterion_main};
use mkgc_builder::build::{BuildOptions, build, count_defects};
use mkgc_builder::corpus::{self, OnError};
use mkgc_builder::plan::plan;
use mkgc_builder::protocol::Protocol;

const RELATIONS: [&str; 4] = ["None", "/per/per/peer", "/per/org/member_of", "/loc/loc/contain"];
const PROTOCOL: &str = "name = \"bench\"\ncorpus = \"mnre\"\nclasses = [\"/per/per/peer\", \"/per/org/member_of\", \"/loc/loc/contain\"]\nn_tasks = 3\n";

fn line(row: usize) -> String {
    let words = vec!["'word'"; 12 + row % 10].join(", ");
    let relation = RELATIONS[row % 4];
    format!(
        "{{'token': [{words}], 'h': {{'name': 'word', 'pos': [0, 1]}}, 't': {{'name': 'word', 'pos': [4, 5]}}, \
         'img_id': 'twitter_{row}.jpg', 'relation': '{relation}'}}\n"
    )
}

/// A corpus in which every row has a picture that is much to write and little to decode.
fn small_corpus_with_pictures(options: &mut BuildOptions, dir: &Path) {
    options.raw = dir.join("pictures");
    let noise = |row: usize| {
        let bits = (row as u32).wrapping_mul(2_654_435_761);
        (0..33_333u32).map(move |at| bits.wrapping_add(at).wrapping_mul(2_246_822_519).rotate_left(9))
    };
    for (split, rows) in [("train", 0..200), ("val", 200..228), ("test", 228..256)] {
        let folder = options.raw.join("img_org").join(split);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(options.raw.join(format!("mnre_{split}.txt")), rows.clone().map(line).collect::<String>())
            .unwrap();
        for row in rows {
            let bytes: Vec<u8> =
                noise(row).flat_map(|bits| [bits as u8, (bits >> 8) as u8, (bits >> 16) as u8]).collect();
            let picture = image::RgbImage::from_raw(271, 123, bytes).unwrap();
            picture.save_with_format(folder.join(format!("twitter_{row}.jpg")), image::ImageFormat::Bmp).unwrap();
        }
    }
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
    let spec = corpus::find("mnre").unwrap();
    let parse = || corpus::read(&spec, &raw, OnError::Fail).unwrap();
    criterion.bench_function("parse 15,485 MNRE lines", |b| b.iter(parse));
    let corpus = parse();
    criterion.bench_function("count the defects of 15,485 rows", |b| b.iter(|| count_defects(&corpus)));
    let parsed = Protocol::parse(PROTOCOL).unwrap();
    criterion.bench_function("plan 15,485 rows", |b| b.iter(|| plan(&corpus, &parsed, false).unwrap()));
    let mut options = BuildOptions::new(protocol.to_string_lossy(), raw, dir.path().join("out"));
    options.force = true;
    let text = options.clone();
    let mut pictures = options;
    small_corpus_with_pictures(&mut pictures, dir.path());
    let mut group = criterion.benchmark_group("build");
    group.sample_size(10);
    group.bench_function("text only", |b| b.iter(|| build(&text).unwrap()));
    group.bench_function("Parquet of 256 pictures of 100 KB", |b| b.iter(|| build(&pictures).unwrap()));
    group.finish();
}

criterion_group!(all, benches);
criterion_main!(all);
