//! Crop files of both kinds go into one file of the benchmark; a corpus without them builds as if there were none.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::Write;
use std::path::Path;

use mkgc_builder::build::{BuildOptions, CropCounts, OnBadImage, Stats, build};
use mkgc_builder::corpus::Split;
use mkgc_builder::dataset::{Benchmark, CROPS_FILE, CropKey};
use mkgc_builder::images::CropKind;
use mkgc_builder::{Error, verify};
use serde_pickle::{HashableValue, SerOptions, Value};
use tempfile::TempDir;

fn picture(path: &Path, shade: u8) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    image::RgbImage::from_pixel(5, 4, image::Rgb([shade; 3])).save(path).unwrap();
}

/// A dictionary as `torch.save` writes it.
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

/// Two rows per split with pictures and, for some, crops: missing, broken, and of the same name in two splits.
fn mnre(raw: &Path) -> String {
    for split in ["train", "val", "test"] {
        let line = |row| {
            format!(
                "{{'token': ['Ann', 'met', 'Bob'], 'h': {{'name': 'Ann', 'pos': [0, 1]}}, \
                 't': {{'name': 'Bob', 'pos': [2, 3]}}, \
                 'img_id': '{split}_{row}.v2.png', 'relation': '/per/per/peer'}}\n"
            )
        };
        picture(&raw.join(format!("img_org/{split}/{split}_0.v2.png")), 1);
        picture(&raw.join(format!("img_org/{split}/{split}_1.v2.png")), 2);
        fs::write(raw.join(format!("mnre_{split}.txt")), line(0) + &line(1)).unwrap();
    }
    let (row, none): (fn(i64) -> HashableValue, &[&str]) = (HashableValue::I64, &[]);
    let train: &[&str] = &["0_crop_2.png", "0_crop_1.png", "0_gone.png"];
    dictionary(&raw.join("mre_train_dict.pth"), vec![(row(0), train), (row(1), &["1_crop.png"])]);
    dictionary(&raw.join("mre_test_dict.pth"), vec![(row(0), &["0_crop_1.png"]), (row(1), none)]);
    let detected: &[&str] = &["img_detect/train/crops/a.png", "./img_detect/train/b.png"];
    dictionary(&raw.join("img_detect/train/train_img2crop.pth"), vec![(name("train_0"), detected)]);
    dictionary(&raw.join("val_img2crop.pth"), vec![(name("val_1"), &["bare.png"]), (name("other"), &["x.png"])]);
    let protocol = raw.parent().unwrap().join("small.toml");
    fs::write(&protocol, "name = \"small\"\ncorpus = \"mnre\"\n\n[[tasks]]\nclasses = [\"/per/per/peer\"]\n").unwrap();
    protocol.to_string_lossy().into_owned()
}

fn mnre_crops(raw: &Path) {
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

struct Case {
    _dir: TempDir,
    options: BuildOptions,
}

impl Case {
    fn new(corpus: fn(&Path) -> String) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let raw = dir.path().join("raw");
        fs::create_dir(&raw).unwrap();
        let protocol = corpus(&raw);
        let mut options = BuildOptions::new(protocol, raw, dir.path().join("out"));
        options.force = true;
        Self { _dir: dir, options }
    }

    fn build(&self) -> (Benchmark, Stats) {
        build(&self.options).unwrap();
        let checks = verify::verify(&self.options.out).unwrap();
        assert!(checks.iter().all(|check| check.problem.is_none()), "{checks:?}");
        let stats = fs::read(self.options.out.join("stats.json")).unwrap();
        (Benchmark::open(&self.options.out).unwrap(), serde_json::from_slice(&stats).unwrap())
    }

    fn text(&self, file: &str) -> String {
        fs::read_to_string(self.options.out.join(file)).unwrap()
    }
}

/// Every crop with the red of its first pixel.
fn crops(benchmark: &Benchmark) -> Vec<(CropKey, u8)> {
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
    let mut case = Case::new(mnre);
    let (without, _) = case.build();
    mnre_crops(&case.options.raw);
    let (benchmark, stats) = case.build();
    let (grounding, detected) = (CropKind::Grounding, CropKind::Detected);
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
    assert_eq!((counted.grounding.named, counted.grounding.found, counted.grounding.missing), (5, 3, 1));
    assert_eq!(counted.detected, CropCounts { named: 3, found: 3, ..CropCounts::default() });
    // Rows are what they were: the identity of the benchmark does not depend on crop files.
    assert_eq!(benchmark.manifest().fingerprint, without.manifest().fingerprint);
    assert_eq!(benchmark.rows(0, Split::Train).unwrap()[0].crops, ["0_crop_2.png", "0_crop_1.png", "0_gone.png"]);
    assert!(
        case.text("README.md").contains("config_name: crops") && case.text("croissant.json").contains("crops-file")
    );
    // Embedded pictures leave the crops where they are.
    case.options.embed_images = true;
    assert_eq!(crops(&case.build().0), expected);
}

#[test]
fn a_damaged_crops_file_is_named_by_verify() {
    let case = Case::new(mnre);
    mnre_crops(&case.options.raw);
    case.build();
    let manifest = case.text("manifest.json");
    fs::write(case.options.out.join("manifest.json"), manifest.replace("\"rows\": 6,\n", "\"rows\": 5,\n")).unwrap();
    let checks = verify::verify(&case.options.out).unwrap();
    assert!(checks.iter().any(|check| check.path == CROPS_FILE && check.problem.is_some()), "{checks:?}");
}

/// Dictionaries alone change no byte: published hashes of builds without crop files hold.
#[test]
fn without_crop_files_nothing_is_written_about_them() {
    let case = Case::new(mnre);
    let files = |out: &Path| -> Vec<Vec<u8>> {
        let names = ["manifest.json", "stats.json", "README.md", "croissant.json", "images/images.parquet"];
        names.iter().map(|name| fs::read(out.join(name)).unwrap()).collect()
    };
    let (benchmark, stats) = case.build();
    assert!(!benchmark.has_crops() && crops(&benchmark).is_empty());
    assert!(stats.images.unwrap().crops.is_none() && !case.text("stats.json").contains("\"crops\""));
    assert!(!case.options.out.join(CROPS_FILE).exists() && !case.text("README.md").contains("config_name: crops"));
    let before = files(&case.options.out);
    fs::remove_dir_all(case.options.raw.join("img_detect")).unwrap();
    fs::remove_file(case.options.raw.join("val_img2crop.pth")).unwrap();
    case.build();
    assert!(before == files(&case.options.out));
}

#[test]
fn crops_of_dropped_rows_are_left_out() {
    let mut case = Case::new(mnre);
    mnre_crops(&case.options.raw);
    fs::remove_file(case.options.raw.join("img_org/train/train_0.v2.png")).unwrap();
    case.options.on_bad_image = OnBadImage::Drop;
    let (benchmark, stats) = case.build();
    assert_eq!(crops(&benchmark).len(), 2);
    assert_eq!(stats.images.unwrap().crops.unwrap().grounding.named, 2);
}

fn twitter2017(raw: &Path) -> String {
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
    let protocol = raw.parent().unwrap().join("small.toml");
    let text = "name = \"small\"\ncorpus = \"twitter2017\"\npriority = [\"PER\"]\n\n[[tasks]]\nclasses = [\"PER\"]\n";
    fs::write(&protocol, text).unwrap();
    protocol.to_string_lossy().into_owned()
}

#[test]
fn the_folders_of_twitter_2017_are_read_as_published() {
    let case = Case::new(twitter2017);
    let (benchmark, stats) = case.build();
    let found: Vec<(Split, CropKind, u8)> =
        crops(&benchmark).into_iter().map(|(key, shade)| (key.split, key.kind, shade)).collect();
    let (grounding, detected) = (CropKind::Grounding, CropKind::Detected);
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
