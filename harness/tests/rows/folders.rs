//! Which folders are read and written: links, half-made folders, files of others, names of any kind.

use std::collections::BTreeSet;
use std::path::Path;

use mkgc_harness::report;
use mkgc_harness::report::board::AbsentKind;
use serde_json::Value;

use crate::common::runs::Runs;
use crate::mkgc;

#[test]
fn half_made_and_hidden_folders_never_take_the_place_of_a_run() {
    let runs = Runs::new();
    for hidden in ["runs/.mkgc-build-x/new", "runs/.old/emr"] {
        runs.plain(hidden, "emr", 1, 2);
    }
    runs.plain("runs/emr", "emr", 1, 100);
    let board = report::boards(report::load(&[runs.path("runs")]).unwrap()).unwrap();
    assert!(board[0].absent.is_empty());
    assert_eq!(board[0].entries[0].ranking().mean.number(), Some(0.99));
    assert!(board[0].entries[0].runs[0].folder.ends_with("runs/emr"));
}

#[cfg(unix)]
#[test]
fn linked_runs_are_read_and_those_that_moved_away_are_named() {
    let runs = Runs::new();
    runs.plain("elsewhere/emr", "emr", 1, 8);
    runs.plain("runs/vanilla", "vanilla", 1, 2);
    std::os::unix::fs::symlink("../elsewhere/emr", runs.path("runs/emr")).unwrap();
    std::os::unix::fs::symlink("../runs", runs.path("runs/again")).unwrap();
    std::os::unix::fs::symlink("../gone", runs.path("runs/moved")).unwrap();
    let loaded = report::load(&[runs.path("runs")]).unwrap();
    let board = report::boards(loaded).unwrap().remove(0);
    assert_eq!(board.entries.len(), 2);
    assert_eq!((board.absent.len(), board.absent[0].kind), (1, AbsentKind::Failed));
    assert!(board.absent[0].label == "moved" && board.absent[0].cause.contains("leads nowhere"), "{:?}", board.absent);
}

#[test]
fn runs_of_a_benchmark_without_a_finished_one_are_listed() {
    let runs = Runs::new();
    runs.plain("runs/emr", "emr", 1, 8);
    for seed in [1, 2] {
        let half = runs.run(&format!("runs/half{seed}"), "ewc", seed, 8, |record| {
            record["dataset"]["name"] = "another".into();
        });
        fs_err::remove_file(half.join("result.json")).unwrap();
    }
    let (code, text, error) = mkgc(&runs.path(""), &["report", "runs", "--out", "report"], |_| ());
    assert!(code == 0 && error.contains("warning: no run on another is finished"), "{error}");
    let board = text.split("\n## ").find(|part| part.starts_with("another\n")).unwrap();
    assert!(board.contains("| ewc | 1 | unfinished |") && board.contains("| ewc | 2 | unfinished |"), "{board}");
    let page = fs_err::read_to_string(runs.path("report/report.html")).unwrap();
    assert_eq!(page.matches("<tr data-label=\"ewc\">").count(), 2);
    let csv = fs_err::read_to_string(runs.path("report/absent.csv")).unwrap();
    assert_eq!(csv.lines().filter(|line| line.starts_with("another,ewc,")).count(), 2, "{csv}");
    // Nothing but unfinished runs is no report.
    let (code, _, error) = mkgc(&runs.path(""), &["report", "runs/half1", "--out", "none"], |_| ());
    assert!(code == 2 && error.contains("no run is finished:\nrun runs/half1 is unfinished: "), "{error}");
    fs_err::write(runs.path("runs/half1/run.json"), "{").unwrap();
    let (code, _, error) = mkgc(&runs.path(""), &["report", "runs/half1", "--out", "none"], |_| ());
    assert!(code == 2 && error.contains("no run is finished:\nrun runs/half1 is failed: "), "{error}");
    assert!(!runs.path("none").exists());
}

#[test]
fn a_report_replaces_its_own_files_and_no_others() {
    let runs = Runs::new();
    let place = runs.path("");
    runs.plain("runs/emr", "emr", 1, 8);
    runs.plain("runs/vanilla", "vanilla", 1, 2);
    let report = |runs: &str| mkgc(&place, &["report", runs, "--out", "report"], |_| ());
    assert_eq!(report("runs").0, 0);
    let plot = |method: &str| runs.path(&format!("report/plots/twitter2017-plom/{method}-matrix.svg"));
    assert!(plot("emr").exists() && plot("vanilla").exists());
    fs_err::write(runs.path("report/notes.md"), "mine").unwrap();
    assert_eq!(report("runs/emr").0, 0);
    assert!(plot("emr").exists() && !plot("vanilla").exists(), "a plot of an earlier report stays");
    assert_eq!(fs_err::read_to_string(runs.path("report/notes.md")).unwrap(), "mine");
    fs_err::create_dir_all(runs.path("mine")).unwrap();
    fs_err::write(runs.path("mine/scores.csv"), "mine").unwrap();
    let (code, out, error) = mkgc(&place, &["report", "runs", "--out", "mine"], |_| ());
    assert!((code, out.as_str()) == (2, "") && error.contains("mine/scores.csv: is there already"), "{error}");
    assert_eq!(fs_err::read_dir(runs.path("mine")).unwrap().count(), 1, "nothing is half-written");
    assert_eq!(fs_err::read_to_string(runs.path("mine/scores.csv")).unwrap(), "mine");
}

#[test]
fn the_demo_replaces_no_file_of_a_user() {
    let place = tempfile::tempdir().unwrap();
    fs_err::write(place.path().join("recipe.toml"), "epochs = 1").unwrap();
    let demo = || mkgc(place.path(), &["demo", "--out", "."], |_| ());
    let (code, _, error) = demo();
    assert!(code == 2 && error.contains("recipe.toml: is there already"), "{error}");
    assert_eq!(fs_err::read_dir(place.path()).unwrap().count(), 1);
    // Even where the demo was made once, a recipe that was changed since stays.
    let mark = r#"{"code_version": "0", "files": ["recipe.toml"]}"#;
    fs_err::write(place.path().join(".mkgc-demo.json"), mark).unwrap();
    let (code, _, error) = demo();
    assert!(code == 2 && error.contains("is not the demo's recipe any more"), "{error}");
    assert_eq!(fs_err::read_to_string(place.path().join("recipe.toml")).unwrap(), "epochs = 1");
}

#[test]
fn names_of_any_kind_keep_every_format_whole() {
    let long = "x".repeat(5000);
    let names = ["é", "è", "日本", "<script>alert(1)</script>", "a|b\n# c", "\u{1b}[31m\u{fffe}red", "=1+1", &long];
    let runs = Runs::new();
    for (index, name) in names.iter().enumerate() {
        let strange = |record: &mut Value| {
            record["method"] = (*name).into();
            record["dataset"]["name"] = format!("b {long}").into();
        };
        runs.run(&format!("runs/{index}"), "x", 1, 2 + index, strange);
    }
    let (code, text, error) = mkgc(&runs.path(""), &["report", "runs", "--out", "report"], |_| ());
    assert_eq!((code, error.as_str()), (0, ""));
    assert!(!text.contains("<script>") && text.contains("&lt;script>alert(1)&lt;/script>"));
    assert!(text.contains("| a\\|b # c |") && !text.contains("\n# c"));
    let mut plots = BTreeSet::new();
    let inside =
        |folder: &Path| fs_err::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
    let below = inside(&runs.path("report/plots"));
    let (folders, files): (Vec<_>, Vec<_>) = below.into_iter().partition(|path| path.is_dir());
    for path in files.into_iter().chain(folders.iter().flat_map(|folder| inside(folder))) {
        let svg = fs_err::read_to_string(&path).unwrap();
        roxmltree::Document::parse(&svg).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        if path.to_string_lossy().ends_with("-matrix.svg") {
            plots.insert(svg);
        }
    }
    assert_eq!(plots.len(), names.len(), "plots of two entries share a file");
    let page = fs_err::read_to_string(runs.path("report/report.html")).unwrap();
    assert!(!page.contains("<script>alert") && !page.contains('\u{1b}') && !page.contains('\u{fffe}'));
    let csv = fs_err::read_to_string(runs.path("report/scores.csv")).unwrap();
    assert!(csv.contains(",'=1+1,") && !csv.contains(",=1+1,"));
    let json: Value = serde_json::from_slice(&fs_err::read(runs.path("report/board.json")).unwrap()).unwrap();
    let labels: BTreeSet<&str> =
        json[0]["entries"].as_array().unwrap().iter().map(|entry| entry["label"].as_str().unwrap()).collect();
    assert_eq!(labels, BTreeSet::from(names), "programs read names as they are");
}
