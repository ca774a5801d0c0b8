//! Crop files of both kinds go into one file of the benchmark, and a corpus without them builds without that file.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::io::Write;
use std::path::Path;

use common::{RawCorpus, mnre_line, write_picture};
use mkgc_builder::build::{CropCounts, OnBadImage, Stats, build};
use mkgc_builder::corpus::Split;
use mkgc_builder::dataset::{BenchmarkFolder, CROPS_FILE, CropKey};
use mkgc_builder::images::CropKind;
use mkgc_builder::{Error, verify};
use serde_pickle::{HashableValue, SerOptions, Value};

const MNRE: &str = r#"
name = "small"
corpus = "mnre"

[[tasks]]
classes = ["/per/per/peer"]
"#;

const TWITTER2017: &str = r#"
name = "small"
corpus = "twitter2017"
priority = ["PER"]

[[tasks]]
classes = ["PER"]
"#;

fn picture(path: &Path, shade: u8) {
    write_picture(path, 5, 4, [shade; 3]);
}

/// Writes a dictionary as `torch.save` writes it.
fn dictionary(path: &Path, entries: Vec<(HashableValue, &[&str])>) {
    let list = |names: &[&str]| Value::List(names.iter().map(|name| Value::String((*name).to_owned())).collect());
    let value = Value::Dict(entries.into_iter().map(|(key, names)| (key, list(names))).collect());
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut zip = zip::ZipWriter::new(fs::File::create(path).unwrap());
    zip.start_file("archive/data.pkl", zip::write::SimpleFileOptions::default()).unwrap();
    zip.write_all(&serde_pickle::value_to_vec(&value, SerOptions::new().proto_v2()).unwrap()).unwrap();
    zip.finish().unwrap();
}

fn name(text: &str) -> HashableValue {
    HashableValue::String(text.to_owned())
}

/// Writes two rows per split with pictures and, for some, crops: missing, broken, and of the same name in two splits.
fn write_mnre(raw: &Path) {
    for split in ["train", "val", "test"] {
        let line = |row| mnre_line(&format!("{split}_{row}.v2.png"), "/per/per/peer");
        picture(&raw.join(format!("img_org/{split}/{split}_0.v2.png")), 1);
        picture(&raw.join(format!("img_org/{split}/{split}_1.v2.png")), 2);
        fs::write(raw.join(format!("mnre_{split}.txt")), line(0) + &line(1)).unwrap();
    }
    let row = HashableValue::I64;
    let none: &[&str] = &[];
    let train: &[&str] = &["0_crop_2.png", "0_crop_1.png", "0_gone.png"];
    dictionary(&raw.join("mre_train_dict.pth"), vec![(row(0), train), (row(1), &["1_crop.png"])]);
    dictionary(&raw.join("mre_test_dict.pth"), vec![(row(0), &["0_crop_1.png"]), (row(1), none)]);
    let detected: &[&str] = &["img_detect/train/crops/a.png", "./img_detect/train/b.png"];
    dictionary(&raw.join("img_detect/train/train_img2crop.pth"), vec![(name("train_0"), detected)]);
    dictionary(&raw.join("val_img2crop.pth"), vec![(name("val_1"), &["bare.png"]), (name("other"), &["x.png"])]);
}

fn write_mnre_crops(raw: &Path) {
    for (path, shade) in [
        ("img_vg/train/crops/0_crop_1.png", 10),
        ("img_vg/train/crops/0_crop_2.png", 11),
        ("img_vg/train/crops/1_crop.png", 12),
        ("img_vg/test/crops/0_crop_1.png", 13),
        ("img_detect/train/crops/a.png", 14),
        ("img_detect/train/b.png", 15),
        ("img_detect/val/crops/bare.png", 16),
    ] {
        picture(&raw.join(path), shade);
    }
    fs::write(raw.join("img_vg/train/crops/1_crop.png"), "not a picture").unwrap();
}

/// Options to build a corpus again and again.
fn replaceable(protocol: &str, write: impl FnOnce(&Path)) -> RawCorpus {
    let mut corpus = RawCorpus::new(protocol, write);
    corpus.options.force = true;
    corpus
}

impl RawCorpus {
    fn build(&self) -> (BenchmarkFolder, Stats) {
        build(&self.options).unwrap();
        let checks = verify::verify(&self.options.out).unwrap();
        assert!(checks.iter().all(|check| check.problem.is_none()), "{checks:?}");
        (BenchmarkFolder::open(&self.options.out).unwrap(), self.stats())
    }
}

/// Returns every crop with the red of its first pixel.
fn crops(benchmark: &BenchmarkFolder) -> Vec<(CropKey, u8)> {
    let mut found = Vec::new();
    let each = |batch: Vec<(CropKey, Vec<u8>)>| -> Result<(), Error> {
        found.extend(
            batch.into_iter().map(|(key, bytes)| (key, image::load_from_memory(&bytes).unwrap().to_rgb8()[(0, 0)][0])),
        );
        Ok(())
    };
    benchmark.crops(each).unwrap();
    found
}

fn crop(split: Split, kind: CropKind, image_id: &str, id: &str, shade: u8) -> (CropKey, u8) {
    (CropKey { split, kind, image_id: image_id.to_owned(), id: id.to_owned() }, shade)
}

#[test]
fn crops_of_both_kinds_are_written_once_with_their_pictures() {
    let mut case = replaceable(MNRE, write_mnre);
    let (without, _) = case.build();
    write_mnre_crops(&case.options.raw);
    let (benchmark, stats) = case.build();
    let grounding = CropKind::Grounding;
    let detected = CropKind::Detected;
    let expected = [
        crop(Split::Train, grounding, "train_0.v2.png", "0_crop_2.png", 11),
        crop(Split::Train, grounding, "train_0.v2.png", "0_crop_1.png", 10),
        crop(Split::Train, detected, "train_0.v2.png", "img_detect/train/crops/a.png", 14),
        crop(Split::Train, detected, "train_0.v2.png", "./img_detect/train/b.png", 15),
        crop(Split::Validation, detected, "val_1.v2.png", "bare.png", 16),
        crop(Split::Test, grounding, "test_0.v2.png", "0_crop_1.png", 13),
    ];
    assert_eq!(crops(&benchmark), expected);
    let counted = stats.images.unwrap().crops.unwrap();
    let broken = &counted.grounding.broken;
    assert!(broken["train/1_crop.png"].contains("does not decode") && broken.len() == 1, "{broken:?}");
    assert_eq!(counted.grounding.named, 5);
    assert_eq!(counted.grounding.found, 3);
    assert_eq!(counted.grounding.missing, 1);
    assert_eq!(counted.detected, CropCounts { named: 3, found: 3, ..CropCounts::default() });
    // Rows are what they were: the identity of the benchmark does not depend on crop files.
    assert_eq!(benchmark.manifest().fingerprint, without.manifest().fingerprint);
    assert_eq!(benchmark.rows(0, Split::Train).unwrap()[0].crops, ["0_crop_2.png", "0_crop_1.png", "0_gone.png"]);
    assert!(
        case.built("README.md").contains("config_name: crops") && case.built("croissant.json").contains("crops-file")
    );
    // Embedded pictures leave the crops where they are.
    case.options.embed_images = true;
    assert_eq!(crops(&case.build().0), expected);
}

#[test]
fn crops_are_in_shards_where_one_file_would_be_too_large() {
    let mut case = replaceable(MNRE, write_mnre);
    write_mnre_crops(&case.options.raw);
    let (whole, _) = case.build();
    let expected = crops(&whole);
    let keys = whole.crop_keys().unwrap();
    case.options.shard_bytes = 9 << 10;
    let (sharded, _) = case.build();
    let paths: Vec<&str> = sharded.manifest().parts(CROPS_FILE).map(|part| part.path.as_str()).collect();
    assert!(paths.len() > 1 && paths[1].starts_with("images/crops-00001-of-0000"), "{paths:?}");
    assert!(sharded.has_crops() && crops(&sharded) == expected && sharded.crop_keys().unwrap() == keys);
    assert!(case.built("README.md").contains("path: images/crops-*.parquet"));
}

#[test]
fn a_damaged_crops_file_is_named_by_verify() {
    let case = replaceable(MNRE, write_mnre);
    write_mnre_crops(&case.options.raw);
    case.build();
    let manifest = case.built("manifest.json");
    fs::write(case.options.out.join("manifest.json"), manifest.replace("\"rows\": 6,\n", "\"rows\": 5,\n")).unwrap();
    let checks = verify::verify(&case.options.out).unwrap();
    assert!(checks.iter().any(|check| check.path == CROPS_FILE && check.problem.is_some()), "{checks:?}");
}

/// Dictionaries alone change no byte: published hashes of builds without crop files hold.
#[test]
fn without_crop_files_nothing_is_written_about_them() {
    let case = replaceable(MNRE, write_mnre);
    let files = |out: &Path| -> Vec<Vec<u8>> {
        let names = ["manifest.json", "stats.json", "README.md", "croissant.json", "images/images.parquet"];
        names.iter().map(|name| fs::read(out.join(name)).unwrap()).collect()
    };
    let (benchmark, stats) = case.build();
    assert!(!benchmark.has_crops() && crops(&benchmark).is_empty());
    assert!(stats.images.unwrap().crops.is_none() && !case.built("stats.json").contains("\"crops\""));
    assert!(!case.options.out.join(CROPS_FILE).exists() && !case.built("README.md").contains("config_name: crops"));
    let before = files(&case.options.out);
    fs::remove_dir_all(case.options.raw.join("img_detect")).unwrap();
    fs::remove_file(case.options.raw.join("val_img2crop.pth")).unwrap();
    case.build();
    assert!(before == files(&case.options.out));
}

#[test]
fn crops_of_dropped_rows_are_left_out() {
    let mut case = replaceable(MNRE, write_mnre);
    write_mnre_crops(&case.options.raw);
    fs::remove_file(case.options.raw.join("img_org/train/train_0.v2.png")).unwrap();
    case.options.on_bad_image = OnBadImage::Drop;
    let (benchmark, stats) = case.build();
    assert_eq!(crops(&benchmark).len(), 2);
    assert_eq!(stats.images.unwrap().crops.unwrap().grounding.named, 2);
}

fn write_twitter2017(raw: &Path) {
    for (file, short) in [("train", "train"), ("valid", "val"), ("test", "test")] {
        fs::write(raw.join(format!("{file}.txt")), format!("IMGID:{short}1\nAnn\tB-PER\n\n")).unwrap();
        picture(&raw.join(format!("twitter2017_images/{short}1.jpg")), 1);
        let of_image: &[&str] = &["1_crop.png"];
        dictionary(
            &raw.join(format!("twitter2017_{short}_dict.pth")),
            vec![(name(&format!("{short}1.jpg")), of_image)],
        );
        picture(&raw.join(format!("twitter2017_aux_images/{short}/crops/1_crop.png")), 7);
        picture(&raw.join(format!("twitter17_detect/{short}/crops/{short}1.jpg")), 8);
    }
    let paths: Vec<[String; 1]> = ["train", "val"].map(|s| [format!("twitter17_detect/{s}/crops/{s}1.jpg")]).into();
    let names: Vec<[&str; 1]> = paths.iter().map(|path| [path[0].as_str()]).collect();
    let entries = vec![(name("train1"), &names[0][..]), (name("val1"), &names[1][..])];
    dictionary(&raw.join("twitter17_detect/twitter17_img2crop.pth"), entries);
}

#[test]
fn the_folders_of_twitter_2017_are_read_as_published() {
    let case = replaceable(TWITTER2017, write_twitter2017);
    let (benchmark, stats) = case.build();
    let found: Vec<(Split, CropKind, u8)> =
        crops(&benchmark).into_iter().map(|(key, shade)| (key.split, key.kind, shade)).collect();
    let grounding = CropKind::Grounding;
    let detected = CropKind::Detected;
    let expected = [
        (Split::Train, grounding, 7),
        (Split::Train, detected, 8),
        (Split::Validation, grounding, 7),
        (Split::Validation, detected, 8),
        (Split::Test, grounding, 7),
    ];
    assert_eq!(found, expected);
    assert_eq!(stats.images.unwrap().crops.unwrap().detected.named, 2);
}
