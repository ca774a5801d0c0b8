//! What the manifest of a folder lists is checked by everything that reads the folder, and nothing else matters. No name in
//! a protocol or manifest leads out of a folder.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;

use common::{THREE_ROWS, edit, three_rows};
use mkgc_builder::Error;
use mkgc_builder::build::build;
use mkgc_builder::corpus::Split;
use mkgc_builder::dataset::{BenchmarkFolder, IMAGES_FILE, StoredPicture};
use mkgc_builder::export::continuemkgc;
use mkgc_builder::protocol::Protocol;
use mkgc_builder::verify::{other_files, require_intact, verify};

const TASK: &str = "tasks/task_01_test.parquet";

#[test]
fn names_in_a_protocol_stay_inside_the_folder_of_an_export() {
    for published in ["../x", "/tmp/x", "a/../../x", "..", "", r"..\\x", "C:/x"] {
        let error = Protocol::parse(&format!("published = \"{published}\"\n{THREE_ROWS}")).unwrap_err().to_string();
        assert!(error.starts_with("protocol: `published`: leads out of the folder"), "{published}: {error}");
    }
    for name in ["..", ".", "", "a/b"] {
        let error = Protocol::parse(&THREE_ROWS.replace("small", name)).unwrap_err().to_string();
        assert!(error.starts_with("protocol: `name`: "), "{name}: {error}");
    }
    let nested = Protocol::parse(&format!("published = \"a/b\"\n{THREE_ROWS}")).unwrap();
    assert_eq!(nested.published.as_deref(), Some("a/b"));
}

#[test]
fn names_in_a_description_of_a_corpus_stay_inside_its_folder() {
    let described = "{ name = \"own\", format = \"mnre\", train = \"mnre_train.txt\", images = [\"img_org/{split}\"] }";
    for (inside, outside, key) in [
        ("mnre_train.txt", "../mnre_train.txt", "corpus.train"),
        ("mnre_train.txt", "/etc/hostname", "corpus.train"),
        ("img_org/{split}", "../../{split}", "corpus.images"),
    ] {
        let protocol = THREE_ROWS.replace("\"mnre\"", described);
        Protocol::parse(&protocol).unwrap().corpus.spec().unwrap();
        let protocol = Protocol::parse(&protocol.replace(inside, outside)).unwrap();
        let error = protocol.corpus.spec().map(drop).unwrap_err().to_string();
        assert_eq!(error, format!("protocol: `{key}`: `{outside}` leaves the corpus folder"));
    }
    let mut raw = three_rows();
    fs::write(raw.dir.path().join("ids"), "0").unwrap();
    let text = format!("{THREE_ROWS}\n[split.rows]\ntrain = \"../ids\"\n");
    fs::write(&raw.options.protocol, text).unwrap();
    raw.options.out = raw.dir.path().join("dealt");
    let error = build(&raw.options).unwrap_err().to_string();
    assert_eq!(error, "protocol: `split.rows.train`: `../ids` leaves the corpus folder");
}

#[test]
fn names_in_a_manifest_from_elsewhere_stay_inside_the_folder() {
    let raw = three_rows();
    build(&raw.options).unwrap();
    let manifest = raw.options.out.join("manifest.json");
    let good = fs::read_to_string(&manifest).unwrap();
    let text = raw.dir.path().join("a/text");
    for (from, to, key) in [
        ("\"published\": \"small\"", "\"published\": \"../x\"", "published"),
        ("\"published\": \"small\"", "\"published\": \"/tmp/x\"", "published"),
        ("\"name\": \"small\"", "\"name\": \"../x\"", "name"),
        ("\"path\": \"README.md\"", "\"path\": \"../raw/mnre_train.txt\"", "files.path"),
        ("\"path\": \"README.md\"", "\"path\": \"/etc/hostname\"", "files.path"),
    ] {
        edit(&manifest, from, to);
        let errors = [
            verify(&raw.options.out).unwrap_err().to_string(),
            require_intact(&raw.options.out).unwrap_err().to_string(),
            continuemkgc(&raw.options.out, &text).unwrap_err().to_string(),
        ];
        assert!(errors.iter().all(|error| error.contains(&format!("`{key}` is `"))), "{errors:?}");
        assert!(errors.iter().all(|error| error.contains("leads out of the folder")), "{errors:?}");
        fs::write(&manifest, &good).unwrap();
    }
    assert!(!raw.dir.path().join("a").exists(), "an export that is refused writes nothing");
}

#[cfg(unix)]
#[test]
fn an_export_does_not_follow_a_link_out_of_its_folder() {
    let raw = three_rows();
    build(&raw.options).unwrap();
    let out = raw.dir.path().join("text");
    let elsewhere = raw.dir.path().join("elsewhere");
    fs::create_dir(&out).unwrap();
    fs::create_dir(&elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, out.join("small")).unwrap();
    let error = continuemkgc(&raw.options.out, &out).unwrap_err().to_string();
    assert!(error.contains("symbolic link"), "{error}");
    assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 0);
    // `--out` itself may be a link: the user chose it.
    let link = raw.dir.path().join("link");
    std::os::unix::fs::symlink(&elsewhere, &link).unwrap();
    continuemkgc(&raw.options.out, &link).unwrap();
    assert_eq!(fs::read_dir(elsewhere.join("small")).unwrap().count(), 6);
    // A file is in the way.
    for out in [raw.raw("mnre_train.txt"), raw.raw("mnre_train.txt/new/text")] {
        let error = continuemkgc(&raw.options.out, &out).unwrap_err().to_string();
        assert!(error.contains("mnre_train.txt: is not a folder, so nothing can be made in it"), "{error}");
    }
}

#[test]
fn files_that_the_manifest_does_not_list_are_named_and_ignored() {
    let raw = three_rows();
    build(&raw.options).unwrap();
    let out = &raw.options.out;
    for file in [".gitattributes", ".DS_Store", ".cache/huggingface/download/x.lock", "tasks/.DS_Store", "notes/a/b"] {
        let path = out.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "x").unwrap();
    }
    assert!(verify(out).unwrap().iter().all(|check| check.problem.is_none()));
    assert_eq!(other_files(out).unwrap(), [".DS_Store", ".cache/", ".gitattributes", "notes/", "tasks/.DS_Store"]);
    require_intact(out).unwrap();
    continuemkgc(out, &raw.dir.path().join("text")).unwrap();
    assert_eq!(BenchmarkFolder::open(out).unwrap().rows(1, Split::Test).unwrap().len(), 3);
}

#[test]
fn damaged_rows_are_refused_by_everything_that_reads_them() {
    let raw = three_rows();
    build(&raw.options).unwrap();
    let out = &raw.options.out;
    let task = out.join(TASK);
    let good = fs::read(&task).unwrap();
    let text = raw.dir.path().join("text");
    let mut changed = good.clone();
    changed[40] ^= 1;
    for (bytes, problem) in [(Some(changed), "SHA-256"), (Some(good[..40].to_vec()), "SHA-256"), (None, "missing")] {
        match bytes {
            Some(bytes) => fs::write(&task, bytes).unwrap(),
            None => fs::remove_file(&task).unwrap(),
        }
        let checks = verify(out).unwrap();
        let damaged: Vec<_> = checks.iter().filter(|check| check.problem.is_some()).collect();
        assert_eq!(damaged.len(), 1);
        assert!(damaged[0].path == TASK && damaged[0].problem.as_ref().unwrap().contains(problem), "{damaged:?}");
        let benchmark = BenchmarkFolder::open(out).unwrap();
        let errors = [require_intact(out), benchmark.check_rows(), continuemkgc(out, &text).map(drop)];
        for error in errors.map(|checked| checked.unwrap_err().to_string()) {
            assert!(error.contains("build or download it again\n  tasks/task_01_test.parquet: "), "{error}");
            assert!(error.contains(problem), "{error}");
        }
        assert!(!text.exists(), "an export of a damaged folder writes nothing");
    }
    let error = BenchmarkFolder::open(out).unwrap().rows(1, Split::Test).unwrap_err().to_string();
    assert!(error.contains(TASK) && error.contains("missing; check the folder with `mkgc verify`"), "{error}");
    fs::write(&task, &good[..40]).unwrap();
    let error = BenchmarkFolder::open(out).unwrap().rows(1, Split::Test).unwrap_err().to_string();
    assert!(error.contains("40 bytes, the manifest says"), "{error}");
}

#[test]
fn a_manifest_that_lists_too_little_or_other_rows_is_refused() {
    let raw = three_rows();
    build(&raw.options).unwrap();
    let out = &raw.options.out;
    let manifest = out.join("manifest.json");
    let good = fs::read_to_string(&manifest).unwrap();
    let fingerprint = BenchmarkFolder::open(out).unwrap().manifest().fingerprint.clone();
    for (from, to, problem) in [
        (TASK, "tasks/other.parquet", "manifest.json: lists no tasks/task_01_test.parquet"),
        (IMAGES_FILE, "pictures", "manifest.json: lists no images/images.parquet"),
        (fingerprint.as_str(), "0", "manifest.json: its fingerprint is not that of its task files"),
    ] {
        edit(&manifest, from, to);
        for checked in [require_intact(out), continuemkgc(out, &raw.dir.path().join("text")).map(drop)] {
            let error = checked.unwrap_err().to_string();
            assert!(error.contains(problem), "{error}");
        }
        fs::write(&manifest, &good).unwrap();
    }
}

#[test]
fn pictures_are_compared_with_their_sum_when_they_are_read() {
    let raw = three_rows();
    build(&raw.options).unwrap();
    let path = raw.options.out.join(IMAGES_FILE);
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.windows(4).position(|window| window == b"IDAT").expect("a stored PNG");
    bytes[at + 6] ^= 1;
    fs::write(&path, bytes).unwrap();
    let ignore = |_: Vec<StoredPicture>| Ok::<(), Error>(());
    let benchmark = BenchmarkFolder::open(&raw.options.out).unwrap();
    let error = benchmark.pictures(ignore).unwrap_err().to_string();
    assert!(error.contains(IMAGES_FILE) && error.contains("SHA-256"), "{error}");
    // The rows are whole.
    benchmark.check_rows().unwrap();
    continuemkgc(&raw.options.out, &raw.dir.path().join("text")).unwrap();
}

/// The hub's cache holds a dataset as links to files of other names in another folder.
#[cfg(unix)]
#[test]
fn a_folder_of_links_to_the_files_is_read_like_any_other() {
    let raw = three_rows();
    build(&raw.options).unwrap();
    let benchmark = BenchmarkFolder::open(&raw.options.out).unwrap();
    let snapshot = raw.dir.path().join("snapshots/main");
    let blobs = raw.dir.path().join("blobs");
    fs::create_dir(&blobs).unwrap();
    let files = benchmark.manifest().files.iter().map(|file| file.path.as_str());
    for (n, file) in files.chain(["manifest.json"]).enumerate() {
        let blob = blobs.join(n.to_string());
        fs::rename(raw.options.out.join(file), &blob).unwrap();
        fs::create_dir_all(snapshot.join(file).parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(blob, snapshot.join(file)).unwrap();
    }
    require_intact(&snapshot).unwrap();
    assert_eq!(other_files(&snapshot).unwrap(), [""; 0]);
    continuemkgc(&snapshot, &raw.dir.path().join("text")).unwrap();
}

#[test]
fn missing_folders_are_named_with_the_remedy() {
    let mut raw = three_rows();
    let dir = raw.dir.path().to_owned();
    raw.options.raw = dir.join("nowhere");
    assert!(
        build(&raw.options)
            .unwrap_err()
            .to_string()
            .contains("nowhere: no train file, because there is no such folder; give --raw")
    );
    raw.options.raw = dir.join("small.toml");
    assert!(build(&raw.options).unwrap_err().to_string().contains("small.toml: is a file; give --raw the folder"));
    for (folder, message) in [
        ("nowhere", "nowhere: no such folder; make it with `mkgc build`"),
        ("small.toml", "small.toml: is a file; give the folder that `mkgc build` wrote"),
        ("raw", "raw: no manifest.json: not a benchmark folder; make one with `mkgc build`"),
    ] {
        let folder = dir.join(folder);
        let errors = [verify(&folder).unwrap_err(), continuemkgc(&folder, &dir.join("text")).unwrap_err()];
        assert!(errors.iter().all(|error| error.to_string().contains(message)), "{errors:?}");
    }
}
