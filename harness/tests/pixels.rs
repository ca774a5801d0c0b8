//! Pictures become the pixels that CLIP's image processor (transformers, Pillow) makes of them.
//! `tools/golden/pixels.py` made the numbers; the real pictures are those of `MKGC_DATA/mnre/img_org`, skipped loudly
//! without it.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::io::Write;
use std::path::{Path, PathBuf};

use mkgc_builder::files::sha256_hex;
use mkgc_builder::images::decode;
use mkgc_models::pixels::{normalise, resize_crop};
use serde_json::{Map, Value};

/// Largest difference in levels of 255 of the resizing alone: fixed-point weights of fewer bits than Pillow's.
const RESIZED: u8 = 1;
/// With 16 bits per sample, which Pillow cuts and we round.
const DEEP: u8 = 2;
/// With a lossy decoder, other than libjpeg-turbo in its inverse cosine transform and its colour upsampling.
const DECODED: u8 = 4;
/// Side of the pictures in `table.json` and `real.json`, and the distance of the 64 places from edge and each other.
const SIDE: usize = 224;
const PLACES: std::ops::Range<usize> = 0..8;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/pixels").join(name)
}

fn table(name: &str) -> Map<String, Value> {
    serde_json::from_slice(&std::fs::read(golden(name)).unwrap()).unwrap()
}

/// Differences in levels.
#[derive(Default)]
struct Differences {
    max: u8,
    sum: f64,
    count: usize,
}

impl Differences {
    fn add(&mut self, ours: u8, theirs: u8) {
        let difference = ours.abs_diff(theirs);
        self.max = self.max.max(difference);
        self.sum += f64::from(difference);
        self.count += 1;
    }

    fn mean(&self) -> f64 {
        self.sum / self.count as f64
    }
}

/// Our picture at 224 x 224 against a table entry: pixels at the 64 places; the largest difference of a channel's mean.
fn compare(planes: &[u8], entry: &Value, differences: &mut Differences) -> f64 {
    let places = PLACES.flat_map(|row| PLACES.map(move |column| (13 + 28 * row) * SIDE + 13 + 28 * column));
    for (place, theirs) in places.zip(entry["pixels"].as_array().unwrap()) {
        for channel in 0..3 {
            differences.add(planes[channel * SIDE * SIDE + place], theirs[channel].as_u64().unwrap() as u8);
        }
    }
    let means = planes.chunks_exact(SIDE * SIDE).zip(entry["mean"].as_array().unwrap());
    let mean = |plane: &[u8]| plane.iter().map(|byte| f64::from(*byte)).sum::<f64>() / plane.len() as f64;
    means.map(|(plane, theirs)| (mean(plane) - theirs.as_f64().unwrap()).abs()).fold(0.0, f64::max)
}

fn allowed(name: &str) -> u8 {
    match name.rsplit_once('.').unwrap() {
        (_, "jpg") | ("lossy", _) => DECODED,
        ("rgb-16-bit", _) => DEEP,
        _ => RESIZED,
    }
}

#[test]
fn every_kind_of_file_gives_the_pixels_of_the_processor() {
    let mut table = table("table.json");
    table.remove("scale");
    assert!(table.len() >= 28);
    for (name, entry) in &table {
        let picture = decode(&std::fs::read(golden(name)).unwrap()).unwrap();
        let theirs = image::open(golden(&format!("{name}.64.png"))).unwrap().into_rgb8();
        let planes = resize_crop(&picture, 64).unwrap();
        let (mut whole, mut places) = (Differences::default(), Differences::default());
        for (place, pixel) in theirs.pixels().enumerate() {
            (0..3).for_each(|channel| whole.add(planes[channel * 64 * 64 + place], pixel[channel]));
        }
        let mean = compare(&resize_crop(&picture, SIDE).unwrap(), entry, &mut places);
        println!(
            "{name}: at 64 max {} mean {:.4}; at 224 max {} mean {:.4}, channel means {mean:.4}",
            whole.max,
            whole.mean(),
            places.max,
            places.mean()
        );
        let limit = allowed(name);
        assert!(whole.max <= limit && places.max <= limit, "{name}");
        assert!(whole.mean() <= 0.5 && mean <= 0.5, "{name}");
        assert!(limit > RESIZED || whole.mean() <= 0.02 && mean <= 0.02, "{name}");
    }
}

#[test]
fn bytes_are_normalised_as_by_the_processor() {
    let planes: Vec<u8> = (0..3).flat_map(|_| 0..=255).collect();
    let theirs: Vec<Vec<f32>> = serde_json::from_value(table("table.json")["scale"].clone()).unwrap();
    assert_eq!(normalise(&planes), theirs.concat());
}

#[test]
fn real_pictures_give_the_pixels_of_the_processor() {
    let Some(root) = std::env::var_os("MKGC_DATA") else {
        // Not eprintln!, whose output a passing test hides.
        let mut stderr = std::io::stderr();
        writeln!(stderr, "SKIPPED: MKGC_DATA, the folder with mnre/ and twitter2017/, is not set").unwrap();
        return;
    };
    let folder = PathBuf::from(root).join("mnre/img_org");
    let table = table("real.json");
    assert_eq!(table.len(), 50);
    let (mut all, mut mean) = (Differences::default(), 0.0f64);
    for (name, entry) in &table {
        let bytes = std::fs::read(folder.join(name)).unwrap();
        assert_eq!(sha256_hex(&bytes), entry["sha256"], "{name} is another picture");
        let planes = resize_crop(&decode(&bytes).unwrap(), SIDE).unwrap();
        mean = mean.max(compare(&planes, entry, &mut all));
    }
    println!("50 real pictures: max {} mean {:.4}, channel means {mean:.4}", all.max, all.mean());
    assert!(all.max <= DECODED && all.mean() <= 0.3 && mean <= 0.5);
}
