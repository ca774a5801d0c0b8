//! What stands between a corpus and a training step: pictures decoded, resized and normalised, sentences tokenised.
//! `cargo bench --workspace --bench data`. Sentences are those of `MKGC_DATA/mnre` if that is set, else generated ones.
#![allow(clippy::unwrap_used, missing_docs)]

use std::io::Cursor;
use std::path::PathBuf;

use candle_core::Device;
use criterion::{Criterion, criterion_group, criterion_main};
use image::codecs::jpeg::JpegEncoder;
use image::{Rgb, RgbImage};
use mkgc_builder::build::{BuildOptions, build};
use mkgc_builder::corpus::{self, Extraction, OnError, Relation};
use mkgc_builder::images::decode;
use mkgc_harness::config::{Config, VisualSetting};
use mkgc_harness::data::{Benchmark, Example, Pictures};
use mkgc_harness::demo::synthetic::{MNRE_PROTOCOL, write_mnre};
use mkgc_models::pixels::resize_crop;
use mkgc_models::text::WordTokenizer;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Waves of light and colour with noise: a file of about 100 KB.
fn jpeg() -> Vec<u8> {
    let mut state = 1u32;
    let picture = RgbImage::from_fn(1024, 768, |x, y| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let noise = (state >> 28) as f32;
        let wave = |length: f32| 60.0 * ((x as f32 + 2.0 * y as f32) / length).sin();
        Rgb([90.0, 110.0, 130.0].map(|length| (120.0 + wave(length) + noise) as u8))
    });
    let mut file = Cursor::new(Vec::new());
    JpegEncoder::new_with_quality(&mut file, 85).encode_image(&picture).unwrap();
    file.into_inner()
}

fn preprocessing(criterion: &mut Criterion) {
    let file = jpeg();
    let picture = decode(&file).unwrap();
    criterion.bench_function(&format!("decode a JPEG of 1024 x 768, {} KB", file.len() / 1000), |b| {
        b.iter(|| decode(&file).unwrap());
    });
    criterion.bench_function("resize it to 224 x 224", |b| b.iter(|| resize_crop(&picture, 224).unwrap()));
}

/// The pixels of a batch, from prepared bytes to a tensor.
fn batches(criterion: &mut Criterion) {
    let dir = tempfile::tempdir().unwrap();
    let (raw, out, protocol) = (dir.path().join("raw"), dir.path().join("out"), dir.path().join("demo.toml"));
    write_mnre(&raw, 1).unwrap();
    std::fs::write(&protocol, MNRE_PROTOCOL).unwrap();
    build(&BuildOptions::new(protocol.to_string_lossy(), raw, &out)).unwrap();
    let benchmark = Benchmark::open(&out, 128).unwrap();
    let config = Config { visual: VisualSetting::Image, ..Config::shared(Extraction::Relations) };
    let pictures = Pictures::open(&benchmark, &config, 224, &dir.path().join("cache")).unwrap();
    let tokenizer = WordTokenizer::from_words(benchmark.training_words().unwrap()).unwrap();
    let rows = benchmark.training(0, &tokenizer).unwrap();
    let rows: Vec<&Example> = rows.iter().take(16).collect();
    criterion.bench_function("pixels of a batch of 16", |b| b.iter(|| pictures.pixels(&rows, &Device::Cpu).unwrap()));
}

fn tokenising(criterion: &mut Criterion) {
    let dir = tempfile::tempdir().unwrap();
    let raw = std::env::var_os("MKGC_DATA").map_or_else(
        || {
            write_mnre(dir.path(), 1).unwrap();
            dir.path().to_owned()
        },
        |data| PathBuf::from(data).join("mnre"),
    );
    let rows = corpus::read(&corpus::find("mnre").unwrap(), &raw, OnError::Fail).unwrap().train;
    let words = rows.iter().flat_map(|row| row.tokens.to_vec()).collect();
    // The word pieces of a real encoder, where a folder of one is given.
    let tokenizer = std::env::var_os("MKGC_ENCODER").map_or_else(
        || WordTokenizer::from_words(words).unwrap(),
        |folder| WordTokenizer::from_file(&PathBuf::from(folder).join("tokenizer.json")).unwrap(),
    );
    let marked: Vec<(Vec<String>, &Relation)> =
        rows.iter().filter_map(|row| Some((row.tokens.to_vec(), row.annotation.relation()?))).collect();
    let mut group = criterion.benchmark_group("tokenise");
    group.sample_size(10);
    group.bench_function(format!("{} sentences", rows.len()), |b| {
        b.iter(|| {
            for (words, Relation { head, tail, .. }) in &marked {
                tokenizer.relation(words, (head.start, head.end), (tail.start, tail.end), 128).unwrap();
            }
        });
    });
    group.finish();
}

criterion_group!(all, preprocessing, batches, tokenising);
criterion_main!(all);
