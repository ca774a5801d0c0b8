//! The real corpora give the published splits. Reads `MKGC_DATA/{mnre,twitter2017}`; skipped, and says so, without it.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use mkgc_builder::build::{BuildOptions, Defects, build, count_defects};
use mkgc_builder::corpus::{self, OnError, Split};
use mkgc_builder::dataset::{BenchmarkFolder, Row, RowLabels};
use mkgc_builder::files::sha256_file;
use mkgc_builder::{export, verify};

fn data(corpus: &str) -> Option<PathBuf> {
    let Some(root) = std::env::var_os("MKGC_DATA") else {
        // Not eprintln!, whose output a passing test hides.
        let mut stderr = std::io::stderr();
        writeln!(stderr, "SKIPPED: MKGC_DATA, the folder with mnre/ and twitter2017/, is not set").unwrap();
        return None;
    };
    let dir = PathBuf::from(root).join(corpus);
    assert!(dir.is_dir(), "MKGC_DATA is set, but {} is not a folder", dir.display());
    Some(dir)
}

fn built(protocol: &str, raw: &Path, out: &Path, as_published: bool) -> BenchmarkFolder {
    let mut options = BuildOptions::new(protocol, raw, out.join(protocol));
    options.as_published = as_published;
    options.force = true;
    build(&options).unwrap();
    BenchmarkFolder::open(&options.out).unwrap()
}

fn rows(benchmark: &BenchmarkFolder, split: Split) -> Vec<usize> {
    (0..benchmark.manifest().tasks.len()).map(|task| benchmark.rows(task, split).unwrap().len()).collect()
}

fn sha256(path: &Path) -> String {
    sha256_file(path).unwrap()
}

/// Reads the hashes of the published files by relative path (`sha256sum` format).
fn published() -> BTreeMap<&'static str, &'static str> {
    let lines = include_str!("../../splits/published.sha256").lines();
    lines.map(|line| line.split_once("  ").map(|(hash, path)| (path, hash)).unwrap()).collect()
}

/// Compares every exported file with the published hashes and returns the number of files.
fn compare(benchmark: &Path, out: &Path) -> usize {
    let hashes = published();
    let files = export::continuemkgc(benchmark, out).unwrap();
    for file in &files {
        let name = file.strip_prefix(out).unwrap().to_str().unwrap().to_owned();
        assert_eq!(Some(sha256(file).as_str()), hashes.get(name.as_str()).copied(), "{name}");
    }
    files.len()
}

#[test]
fn mnre_10_equals_the_published_files() {
    let Some(raw) = data("mnre") else { return };
    let dir = tempfile::tempdir().unwrap();
    let benchmark = built("mnre-10", &raw, dir.path(), false);
    assert_eq!(rows(&benchmark, Split::Train), [1741, 1671, 1418, 1210, 1148, 1020, 1065, 1008, 990, 962]);
    assert_eq!(rows(&benchmark, Split::Test), [255, 464, 662, 836, 984, 1115, 1241, 1369, 1495, 1614]);
    assert_eq!(compare(&dir.path().join("mnre-10"), &dir.path().join("text")), 30);
    let checks = verify::verify(&dir.path().join("mnre-10")).unwrap();
    assert!(checks.iter().all(|check| check.problem.is_none()), "{checks:?}");
    let first = &benchmark.rows(0, Split::Train).unwrap()[0];
    assert!(!first.crops.is_empty(), "crops come from mre_train_dict.pth");
}

#[test]
fn crops_follow_the_row_number_of_the_full_file() {
    let Some(raw) = data("mnre") else { return };
    let dir = tempfile::tempdir().unwrap();
    let benchmark = built("mnre-7", &raw, dir.path(), false);
    let mut seen = 0;
    for row in (0..7).flat_map(|task| benchmark.rows(task, Split::Train).unwrap()) {
        // The dictionary's crops are named after the row: 12_pred_yolo_crop_0.png is of row 12.
        let number: usize = row.id.strip_prefix("train-").unwrap().parse().unwrap();
        assert!(row.crops.iter().all(|crop| crop.starts_with(&format!("{number}_pred"))), "{} {:?}", row.id, row.crops);
        seen += row.crops.len();
    }
    assert!(seen > 10_000, "{seen} crops");
}

#[test]
fn mnre_5_pairs_the_tasks_of_mnre_10_and_can_lose_the_row_lost_upstream() {
    let Some(raw) = data("mnre") else { return };
    let dir = tempfile::tempdir().unwrap();
    let whole = built("mnre-5", &raw, dir.path(), false);
    assert_eq!(rows(&whole, Split::Train), [3411, 2627, 2167, 2072, 1956]);
    assert_eq!(rows(&whole, Split::Test), [463, 834, 1112, 1365, 1614]);
    let with = whole.rows(4, Split::Test).unwrap();
    let published = built("mnre-5", &raw, dir.path(), true);
    let without = published.rows(4, Split::Test).unwrap();
    let lost: Vec<_> = with.iter().filter(|row| !without.contains(row)).collect();
    assert_eq!(lost.len(), 1);
    assert_eq!(lost[0].id, "test-001609");
    assert_eq!(lost[0].image_id.as_deref(), Some("twitter_stream_2018_10_10_13_0_2_49.jpg"));
    let owned =
        |row: &&Row| row.owner_task == Some(0) && matches!(row.labels, RowLabels::Relation { relation: 1.., .. });
    assert_eq!(with.iter().rfind(owned), Some(lost[0]), "the last row of task 0 that is not None");
    assert_eq!(rows(&published, Split::Test), [463, 833, 1111, 1364, 1613]);
    assert_eq!(rows(&published, Split::Train), [3411, 2627, 2167, 2072, 1956]);
}

#[test]
fn mnre_7_has_the_published_counts() {
    let Some(raw) = data("mnre") else { return };
    let dir = tempfile::tempdir().unwrap();
    let benchmark = built("mnre-7", &raw, dir.path(), false);
    assert_eq!(rows(&benchmark, Split::Train), [2945, 1774, 1858, 1409, 1549, 1403, 1295]);
    assert_eq!(rows(&benchmark, Split::Test), [407, 648, 910, 1087, 1271, 1453, 1614]);
}

#[test]
fn twitter2017_equals_the_published_files_in_both_orders() {
    let Some(raw) = data("twitter2017") else { return };
    let dir = tempfile::tempdir().unwrap();
    let plom = built("twitter2017-plom", &raw, dir.path(), false);
    assert_eq!(rows(&plom, Split::Train), [943, 487, 909, 642]);
    assert_eq!(rows(&plom, Split::Validation), [200, 104, 205, 138]);
    assert_eq!(rows(&plom, Split::Test), [723; 4]);
    let out = dir.path().join("text");
    assert_eq!(compare(&dir.path().join("twitter2017-plom"), &out), 12);
    built("twitter2017-polm", &raw, dir.path(), false);
    export::continuemkgc(&dir.path().join("twitter2017-polm"), &out).unwrap();
    // The other order has the same training files, renumbered; the first and the last test file agree as well.
    for (plom, polm) in [(0, 0), (1, 2), (2, 1), (3, 3)] {
        for split in ["train", "valid"] {
            let file = |order: &str, task: usize| sha256(&out.join(order).join(format!("{split}_{task}.txt")));
            assert_eq!(file("sep-PLOM", plom), file("sep-POLM-NEW", polm));
        }
    }
    for task in [0, 3] {
        let file = |order: &str| sha256(&out.join(order).join(format!("test_{task}.txt")));
        assert_eq!(file("sep-PLOM"), file("sep-POLM-NEW"));
    }
}

fn defects(corpus: &str, raw: &Path) -> Defects {
    count_defects(&corpus::read(&corpus::find(corpus).unwrap(), raw, OnError::Fail).unwrap())
}

#[test]
fn the_known_defects_are_counted() {
    let (Some(mnre), Some(twitter)) = (data("mnre"), data("twitter2017")) else { return };
    let found = defects("mnre", &mnre);
    assert_eq!(found.rows, [12_247, 1_624, 1_614]);
    assert_eq!(found.overlapping_spans, [59, 3, 5]);
    assert_eq!(found.conflicting_relations, [27, 0, 0]);
    assert_eq!(found.texts_shared_with_train, [0, 21, 21]);
    assert_eq!(found.pairs_shared_with_train, [0, 6, 1]);
    // Counted by a program of a few lines in another language.
    assert_eq!(found.texts_shared_with_validation, [0, 0, 13]);
    assert_eq!(found.pairs_shared_with_validation, [0, 0, 0]);
    assert_eq!(found.rows_without_class, [7_744, 1_000, 974]);
    assert_eq!(found.one_row_classes[2], ["/per/misc/religion", "/per/per/charges", "/per/per/siblings"]);
    let found = defects("twitter2017", &twitter);
    assert_eq!(found.rows, [3_373, 723, 723]);
    assert_eq!(found.rows_without_class[..2], [392, 76]);
    assert_eq!(found.texts_shared_with_train, [0, 1, 4]);
    assert_eq!(found.pairs_shared_with_train, [0, 1, 0]);
    assert_eq!(found.texts_shared_with_validation, [0, 0, 1]);
    assert_eq!(found.pairs_shared_with_validation, [0, 0, 0]);
}
