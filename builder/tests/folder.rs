//! What a build leaves on disk is reproducible, complete or absent, and checked by `verify`; damaged input is refused.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use common::{RawCorpus, THREE_ROWS, mnre_line, write_picture};
use mkgc_builder::Result;
use mkgc_builder::build::{Allowed, CorpusSource, OnBadImage, build, build_viewed};
use mkgc_builder::corpus::{self, OnError, Split};
use mkgc_builder::dataset::{BenchmarkFolder, IMAGES_FILE, StoredPicture};
use mkgc_builder::{export, verify};

fn line(split: &str, row: usize) -> String {
    mnre_line(&format!("{split}_{row}.png"), ["/per/per/peer", "None", "/per/org/member_of"][row % 3])
}

/// Writes 9 rows per split (3 of each relation, 3 `None`), each with a PNG.
fn write_mnre(raw: &Path) {
    for split in ["train", "val", "test"] {
        fs::write(raw.join(format!("mnre_{split}.txt")), (0..9).map(|row| line(split, row)).collect::<String>())
            .unwrap();
        for row in 0..9 {
            let path = raw.join(format!("img_org/{split}/{split}_{row}.png"));
            write_picture(&path, 4 + row, 6, [row as u8 * 20, 0, 0]);
        }
    }
}

fn small() -> RawCorpus {
    RawCorpus::new(THREE_ROWS, write_mnre)
}

impl RawCorpus {
    fn image(&self, name: &str) -> PathBuf {
        self.raw("img_org/train").join(name)
    }

    fn text(&self) -> PathBuf {
        self.raw("mnre_train.txt")
    }

    fn build(&self) -> Result<BenchmarkFolder> {
        build(&self.options)?;
        BenchmarkFolder::open(&self.options.out)
    }

    /// Returns the error of a build that must fail and leave nothing.
    fn error(&self) -> String {
        let error = self.build().unwrap_err().to_string();
        assert!(!self.options.out.exists(), "a failed build left a folder");
        let left: Vec<_> = fs::read_dir(self.dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert!(left.iter().all(|name| !name.to_string_lossy().starts_with(".mkgc")), "{left:?}");
        error
    }
}

fn files(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push((path.clone(), fs::read(path).unwrap()));
        }
    }
    found.sort();
    found
}

fn relative(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    files(dir).into_iter().map(|(path, bytes)| (path.strip_prefix(dir).unwrap().to_owned(), bytes)).collect()
}

fn problems(dir: &Path) -> Vec<(String, String)> {
    verify::verify(dir).unwrap().into_iter().filter_map(|check| Some((check.path, check.problem?))).collect()
}

#[test]
fn the_same_input_gives_the_same_bytes_and_verifies() {
    let mut raw = small();
    let benchmark = raw.build().unwrap();
    let first = relative(&raw.options.out);
    assert_eq!(first.len(), 6 + 1 + 4, "task files, images, card, Croissant, statistics, manifest");
    assert_eq!(problems(&raw.options.out), []);
    raw.options.out = raw.dir.path().join("again");
    raw.build().unwrap();
    assert!(first == relative(&raw.options.out));
    let rows = benchmark.rows(1, Split::Test).unwrap();
    assert_eq!(
        rows.iter().map(|row| row.id.as_str()).collect::<Vec<_>>()[..3],
        ["test-000000", "test-000002", "test-000003"]
    );
    assert_eq!(rows.len(), 9);
}

#[test]
fn every_kind_of_damage_is_named_by_verify() {
    let raw = small();
    raw.build().unwrap();
    let out = &raw.options.out;
    let task = out.join("tasks/task_00_train.parquet");
    let good = fs::read(&task).unwrap();
    let card = fs::read(out.join("README.md")).unwrap();
    let mut bad = good.clone();
    bad[40] ^= 1;
    fs::write(&task, &bad).unwrap();
    fs::write(out.join("README.md"), "x").unwrap();
    fs::write(out.join("tasks/extra.parquet"), "x").unwrap();
    fs::remove_file(out.join(IMAGES_FILE)).unwrap();
    let found = problems(out);
    let named: Vec<&str> = found.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(named, ["tasks/task_00_train.parquet", IMAGES_FILE, "README.md"]);
    assert!(found[0].1.contains("SHA-256") && found[1].1.contains("missing"), "{found:?}");
    assert_eq!(verify::other_files(out).unwrap(), ["tasks/extra.parquet"]);
    // A manifest that was changed to fit other rows is caught by the fingerprints.
    fs::write(&task, good).unwrap();
    fs::write(out.join("README.md"), card).unwrap();
    let manifest = fs::read_to_string(out.join("manifest.json")).unwrap();
    let forged = manifest.replace("\"rows\": 5", "\"rows\": 4");
    assert_ne!(forged, manifest);
    fs::write(out.join("manifest.json"), forged).unwrap();
    assert!(problems(out)[0].1.contains("rows, the manifest says"), "{:?}", problems(out));
    fs::write(out.join("manifest.json"), "{}").unwrap();
    assert!(verify::verify(out).unwrap_err().to_string().contains("schema version none"));
    fs::remove_file(out.join("manifest.json")).unwrap();
    assert!(verify::verify(out).unwrap_err().to_string().contains("not a benchmark folder"));
}

#[test]
fn an_existing_folder_is_replaced_only_with_force_and_kept_if_the_build_fails() {
    let mut raw = small();
    raw.build().unwrap();
    let first = relative(&raw.options.out);
    assert!(build(&raw.options).unwrap_err().to_string().contains("--force"));
    raw.options.force = true;
    let text = fs::read_to_string(raw.text()).unwrap();
    fs::write(raw.text(), text.replacen("met", "saw", 1)).unwrap();
    raw.build().unwrap();
    let second = relative(&raw.options.out);
    assert!(first != second);
    fs::write(raw.text(), "damaged").unwrap();
    assert!(build(&raw.options).is_err());
    assert!(second == relative(&raw.options.out));
    // A folder of something else is never deleted.
    let other = raw.dir.path().join("thesis");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("chapter.txt"), "mine").unwrap();
    raw.options.out = other.clone();
    assert!(build(&raw.options).unwrap_err().to_string().contains("not a benchmark folder"));
    assert_eq!(fs::read_to_string(other.join("chapter.txt")).unwrap(), "mine");
}

#[test]
fn damaged_records_stop_the_build_or_are_listed() {
    let mut raw = small();
    let text = fs::read_to_string(raw.text()).unwrap();
    fs::write(raw.text(), text.replacen("'pos': [2, 3]", "'pos': [2, 9]", 1)).unwrap();
    assert!(raw.error().contains("mnre_train.txt:1: span [2, 9] of `t.pos` is out of range"));
    raw.options.on_error = OnError::Skip;
    raw.options.allow = vec![Allowed::Skipped];
    let benchmark = raw.build().unwrap();
    let skipped = raw.stats().skipped;
    assert_eq!(skipped.len(), 1);
    assert_eq!(skipped[0].file, "mnre_train.txt");
    assert_eq!(skipped[0].line, 1);
    let ids: Vec<String> = benchmark.rows(0, Split::Train).unwrap().into_iter().map(|row| row.id).collect();
    assert_eq!(ids[..2], ["train-000003", "train-000006"], "row numbers stay those of the full file");
    fs::write(raw.text(), "").unwrap();
    raw.options.force = true;
    assert!(build(&raw.options).unwrap_err().to_string().contains("mnre_train.txt:1: holds no record"));
    fs::remove_file(raw.text()).unwrap();
    assert!(
        build(&raw.options)
            .unwrap_err()
            .to_string()
            .contains("no train file; expected one of: mnre_train.txt, ours_train.txt")
    );
}

#[test]
fn bad_images_are_kept_with_a_stand_in_or_dropped_or_stop_the_build() {
    let mut raw = small();
    fs::remove_file(raw.image("train_0.png")).unwrap();
    let broken = fs::read(raw.image("train_3.png")).unwrap();
    fs::write(raw.image("train_3.png"), &broken[..broken.len() / 2]).unwrap();
    // A decompression bomb: the header promises 60,000 x 60,000 pixels.
    let mut bomb = fs::read(raw.image("train_6.png")).unwrap();
    bomb[16..24].copy_from_slice(&[0, 0, 0xea, 0x60, 0, 0, 0xea, 0x60]);
    fs::write(raw.image("train_6.png"), bomb).unwrap();
    let unsafe_name = fs::read_to_string(raw.text()).unwrap().replace("train_8.png", "../../x");
    fs::write(raw.text(), unsafe_name).unwrap();
    fs::write(raw.dir.path().join("x"), broken).unwrap();

    let benchmark = raw.build().unwrap();
    let images = raw.stats().images.unwrap();
    assert_eq!(images.named, 27);
    assert_eq!(images.usable, 23);
    let reasons: Vec<(&str, &str)> = images.bad.iter().map(|(id, reason)| (id.as_str(), reason.as_str())).collect();
    assert!(reasons[0].0 == "train/../../x" && reasons[0].1.contains("unsafe name"), "{reasons:?}");
    assert_eq!(reasons[1], ("train/train_0.png", "missing"));
    assert!(reasons[2].1.contains("does not decode") && reasons[3].1.contains("does not decode"), "{reasons:?}");
    assert_eq!(benchmark.rows(0, Split::Train).unwrap().len(), 5);

    raw.options.force = true;
    raw.options.on_bad_image = OnBadImage::Drop;
    let benchmark = raw.build().unwrap();
    assert_eq!(benchmark.rows(0, Split::Train).unwrap().len(), 2, "three peer rows and one member_of row are gone");
    assert_eq!(raw.stats().rows_dropped_for_images, [4, 0, 0]);

    raw.options.out = raw.dir.path().join("other");
    raw.options.on_bad_image = OnBadImage::Error;
    let error = raw.error();
    assert!(error.contains("train_0.png: missing; --on-bad-image"), "{error}");
}

#[test]
fn pictures_are_stored_in_the_order_of_the_rows_however_many_there_are() {
    let mut raw = small();
    let image = fs::read(raw.image("train_0.png")).unwrap();
    (9..300).for_each(|row| fs::write(raw.image(&format!("train_{row}.png")), &image).unwrap());
    fs::write(raw.text(), (0..300).map(|row| line("train", row)).collect::<String>()).unwrap();
    let mut ids = Vec::new();
    let collect = |batch: Vec<StoredPicture>| -> Result<()> {
        ids.extend(batch.into_iter().map(|picture| picture.id));
        Ok(())
    };
    raw.build().unwrap().pictures(collect).unwrap();
    let named = |split: &str, rows| (0..rows).map(|row| format!("{split}_{row}.png")).collect::<Vec<_>>();
    assert_eq!(ids, [named("train", 300), named("val", 9), named("test", 9)].concat());
    assert_eq!(problems(&raw.options.out), []);
    // An error far behind the first pictures still leaves nothing.
    fs::remove_file(raw.image("train_299.png")).unwrap();
    raw.options.out = raw.dir.path().join("other");
    raw.options.on_bad_image = OnBadImage::Error;
    assert!(raw.error().contains("train_299.png: missing"));
}

#[test]
fn a_viewer_sees_every_usable_picture_once_and_can_stop_the_build() {
    let mut raw = small();
    fs::remove_file(raw.image("train_0.png")).unwrap();
    let seen = Mutex::new(Vec::new());
    let view = |id: &str, picture: &image::RgbImage| {
        seen.lock().unwrap().push((id.to_owned(), picture.width()));
        Ok(())
    };
    build_viewed(&raw.options, &view).unwrap();
    let mut seen = seen.into_inner().unwrap();
    seen.sort();
    let sizes = |split: &str, name: &str, rows: std::ops::Range<u32>| {
        rows.map(|row| (format!("{split}/{name}_{row}.png"), 4 + row)).collect()
    };
    let expected: [Vec<_>; 3] =
        [sizes("test", "test", 0..9), sizes("train", "train", 1..9), sizes("validation", "val", 0..9)];
    assert_eq!(seen, expected.concat());
    raw.options.out = raw.dir.path().join("other");
    let error = build_viewed(&raw.options, &|_, _| Err("no room".to_owned())).unwrap_err().to_string();
    assert!(error.contains("no room") && !raw.options.out.exists(), "{error}");
}

#[test]
fn embedded_images_are_in_the_rows_and_change_no_fingerprint() {
    let mut raw = small();
    let separate = raw.build().unwrap();
    raw.options.out = raw.dir.path().join("embedded");
    raw.options.embed_images = true;
    let embedded = raw.build().unwrap();
    assert!(!raw.options.out.join("images").exists());
    assert_eq!(embedded.manifest().fingerprint, separate.manifest().fingerprint);
    assert_eq!(embedded.rows(0, Split::Train).unwrap(), separate.rows(0, Split::Train).unwrap());
    assert_eq!(problems(&raw.options.out), []);
    let picture = fs::read(raw.image("train_0.png")).unwrap();
    let file = fs::File::open(raw.options.out.join("tasks/task_00_train.parquet")).unwrap();
    let batch =
        parquet::arrow::arrow_reader::ParquetRecordBatchReader::try_new(file, 100).unwrap().next().unwrap().unwrap();
    let images = arrow::array::AsArray::as_struct(batch.column_by_name("image").unwrap());
    assert_eq!(arrow::array::AsArray::as_binary::<i32>(images.column(0)).value(0), picture);
}

#[test]
fn without_an_image_folder_the_benchmark_is_text_only() {
    let mut raw = small();
    fs::remove_dir_all(raw.options.raw.join("img_org")).unwrap();
    let benchmark = raw.build().unwrap();
    assert!(!benchmark.manifest().images && raw.stats().images.is_none());
    raw.options.out = raw.dir.path().join("other");
    raw.options.embed_images = true;
    assert!(raw.error().contains("no image folder here; give --images"));
    raw.options.images = Some(raw.dir.path().join("nowhere"));
    assert!(raw.error().contains("no image folder; expected img_org/"));
}

#[test]
fn a_corpus_of_ones_own_must_be_given() {
    let mut own = RawCorpus::new(&THREE_ROWS.replace("mnre", "own"), write_mnre);
    assert!(own.error().starts_with("protocol: `corpus`: unknown corpus `own`"));
    let spec = corpus::CorpusSpec { name: "own".to_owned(), ..corpus::find("mnre").unwrap() };
    own.options.corpus = CorpusSource::Files(Box::new(spec));
    assert_eq!(own.build().unwrap().manifest().corpus, "own");
}

#[test]
fn an_export_never_overwrites_other_files() {
    let raw = small();
    raw.build().unwrap();
    let out = raw.dir.path().join("text");
    let written = export::continuemkgc(&raw.options.out, &out).unwrap();
    assert_eq!(written.len(), 6);
    let text = fs::read_to_string(out.join("small/ours_train_0.txt")).unwrap();
    assert_eq!(text.lines().next().unwrap(), line("train", 0).trim_end());
    assert!(text.ends_with("}\r\n"));
    export::continuemkgc(&raw.options.out, &out).unwrap();
    fs::write(out.join("small/ours_train_0.txt"), "mine").unwrap();
    assert!(
        export::continuemkgc(&raw.options.out, &out).unwrap_err().to_string().contains("exists with other content")
    );
}
