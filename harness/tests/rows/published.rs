//! Published boards: whole in themselves, read again with the same numbers, merged with others.

use std::path::Path;
use std::time::SystemTime;

use mkgc_harness::report;
use mkgc_harness::report::board::{AbsentKind, Board};
use mkgc_harness::run::RunFolder;
use mkgc_harness::run::lock::Lock;
use mkgc_harness::watch::{self, Doing};
use serde_json::Value;

use crate::common::runs::Runs;
use crate::{cut, mkgc};

fn board(given: &Path) -> Board {
    report::boards(report::load(&[given]).unwrap()).unwrap().remove(0)
}

/// Means of the main metric by label.
fn means(board: &Board) -> Vec<(String, Option<f64>)> {
    board.entries.iter().map(|entry| (entry.label.clone(), entry.ranking().mean.number())).collect()
}

#[test]
fn a_published_board_gives_the_same_numbers_and_names_no_place_of_this_machine() {
    let runs = Runs::new();
    runs.plain("a/emr", "emr", 1, 8);
    runs.plain("a/vanilla", "vanilla", 1, 2);
    cut(runs.plain("a/damaged", "ewc", 1, 2).join("run.json"));
    let given = runs.path("a");
    let arguments = ["report", given.to_str().unwrap(), "--publish", "board"];
    let (code, text, error) = mkgc(&runs.path(""), &arguments, |_| ());
    assert_eq!((code, error.as_str()), (0, ""));
    for name in ["index.html", "board.json", "README.md", "report.md", "scores.csv", "absent.csv", ".nojekyll"] {
        let content = fs_err::read_to_string(runs.path("board").join(name)).unwrap();
        let place = runs.path("").to_str().unwrap().replace('/', "&#x2f;");
        assert!(!content.contains(runs.path("").to_str().unwrap()) && !content.contains(&place), "{name}");
    }
    assert!(text.contains("| emr | 1 | runs/twitter2017-plom/emr-seed1 |") && text.contains("| failed |"), "{text}");
    assert!(runs.path("board/runs/twitter2017-plom/emr-seed1/stages/1/predictions.parquet").exists());
    assert_eq!(means(&board(&runs.path("board"))), means(&board(&runs.path("a"))));
    assert_eq!(means(&board(&runs.path("board/board.json"))), means(&board(&runs.path("a"))));
    // A board that is published again in its place keeps its runs and drops those that are not on it any more.
    let again = |runs_of: &str| mkgc(&runs.path(""), &["report", runs_of, "--publish", "board"], |_| ());
    assert_eq!(again("board").0, 0);
    assert_eq!(means(&board(&runs.path("board"))).len(), 2);
    assert_eq!(again("board/runs/twitter2017-plom/emr-seed1").0, 0);
    assert_eq!(means(&board(&runs.path("board"))), [("emr".to_owned(), Some(0.875))]);
    assert!(!runs.path("board/runs/twitter2017-plom/vanilla-seed1").exists());
    assert!(runs.path("a/vanilla").exists(), "runs elsewhere are nobody's to remove");
}

/// A run of somebody else may hold a link of that name to any file.
#[cfg(unix)]
#[test]
fn nothing_but_lines_of_a_log_is_published_as_one() {
    let runs = Runs::new();
    let run = runs.plain("emr", "emr", 1, 8);
    let secret = runs.path("secret");
    let line = r#"{"stage":1,"epoch":0,"step":150,"loss":0.1,"lr_encoder":0.1,"samples_per_s":1.0,"memory_mib":1}"#;
    fs_err::write(&secret, format!("token = 7\n{line}\n{{\"stage\": 1}}\n")).unwrap();
    fs_err::os::unix::fs::symlink(&secret, run.join("metrics.jsonl")).unwrap();
    assert_eq!(mkgc(&runs.path(""), &["report", "emr", "--publish", "site"], |_| ()).0, 0);
    let published = runs.path("site/runs/twitter2017-plom/emr-seed1/metrics.jsonl");
    assert_eq!(fs_err::read_to_string(published).unwrap(), format!("{line}\n"));
}

#[test]
fn a_published_run_that_was_damaged_since_stays_and_is_named_in_plain_words() {
    let runs = Runs::new();
    // As a word, the name of this folder is in every cause.
    runs.plain("is", "emr", 1, 8);
    runs.plain("vanilla", "vanilla", 1, 2);
    let place = runs.path("");
    let publish = |given: &[&str]| mkgc(&place, &[&["report"], given, &["--publish", "site"]].concat(), |_| ());
    assert_eq!(publish(&["is", "vanilla"]).0, 0);
    let damaged = runs.path("site/runs/twitter2017-plom/vanilla-seed1");
    cut(damaged.join("stages/1/predictions.parquet"));
    let (code, text, _) = publish(&["is", "site/runs/twitter2017-plom/vanilla-seed1"]);
    assert!(code == 0 && text.contains("its predictions cannot be used: vanilla-seed1/stages/1/"), "{text}");
    assert!(text.contains(" is no whole Parquet file; "), "{text}");
    assert!(damaged.join("run.json").exists() && damaged.join("stages/0/predictions.parquet").exists());
    // A whole copy takes its place.
    assert_eq!(publish(&["site", "vanilla"]).0, 0);
    assert_eq!(means(&board(&runs.path("site"))).len(), 2);
}

#[test]
fn what_others_keep_in_a_published_folder_stays() {
    let runs = Runs::new();
    runs.plain("repo/runs/theirs", "vanilla", 1, 2);
    fs_err::write(runs.path("repo/README.md"), "mine").unwrap();
    runs.plain("emr", "emr", 1, 8);
    let publish = |given: &[&str]| mkgc(&runs.path(""), &[&["report"], given, &["--publish", "repo"]].concat(), |_| ());
    let (code, _, error) = publish(&["repo", "emr"]);
    assert!(code == 0 && error.contains("repo/README.md: is yours"), "{error}");
    assert_eq!(means(&board(&runs.path("repo"))).len(), 2);
    assert_eq!(publish(&["emr"]).0, 0);
    assert!(runs.path("repo/runs/theirs/run.json").exists(), "a run that was submitted is not ours to remove");
    assert_eq!(fs_err::read_to_string(runs.path("repo/README.md")).unwrap(), "mine");
}

#[test]
fn what_a_user_writes_around_the_report_of_a_card_stays() {
    let runs = Runs::new();
    runs.plain("emr", "emr", 1, 8);
    runs.plain("joint", "joint", 1, 100);
    let publish = |given: &str| assert_eq!(mkgc(&runs.path(""), &["report", given, "--publish", "site"], |_| ()).0, 0);
    let card = runs.path("site/README.md");
    let read = || fs_err::read_to_string(&card).unwrap();
    publish("emr");
    let marked = read().replace("<!-- mkgc report: begin", "# My board\n<!-- mkgc report: begin") + "Thanks.\n";
    fs_err::write(&card, &marked).unwrap();
    publish("emr");
    assert_eq!(read(), marked);
    publish("joint");
    let renewed = read();
    assert!(renewed.contains("# My board\n<!-- mkgc") && renewed.ends_with(" end -->\nThanks.\n"), "{renewed}");
    assert!(renewed.contains("| joint |") && !renewed.contains("| emr |"), "{renewed}");
    // Editors change the ends of lines.
    fs_err::write(&card, renewed.replace('\n', "\r\n").trim_end()).unwrap();
    publish("emr");
    assert!(read().contains("# My board\r\n<!-- mkgc") && read().ends_with("Thanks.") && read().contains("| emr |"));
    // A card of one's own has no marks, or is no text at all.
    for own in [&b"mine"[..], b"\xff\xfe"] {
        fs_err::write(&card, own).unwrap();
        publish("joint");
        assert_eq!(fs_err::read(&card).unwrap(), own);
    }
}

#[test]
fn boards_merge_where_fingerprints_agree() {
    let runs = Runs::new();
    runs.plain("a/emr", "emr", 1, 8);
    runs.plain("a/joint", "joint", 1, 100);
    runs.plain("b/emr", "emr", 2, 9);
    runs.plain("c/emr", "emr", 1, 7);
    let place = runs.path("");
    for name in ["a", "b", "c"] {
        let published = format!("published-{name}");
        assert_eq!(mkgc(&place, &["report", name, "--publish", &published], |_| ()).0, 0);
    }
    // The same run in two places counts once; another one of the same method and seed is named.
    let given = ["published-a", "published-b", "published-c", "a"].map(|name| runs.path(name));
    let merged = report::boards(report::load(&given).unwrap()).unwrap().remove(0);
    let emr = merged.entries.iter().find(|entry| entry.label == "emr").unwrap();
    assert_eq!((emr.seeds.as_slice(), emr.stages["micro_f1"][1].by_seed[0]), ([1, 2].as_slice(), Some(0.875)));
    let duplicates: Vec<_> = merged.absent.iter().filter(|run| run.kind == AbsentKind::Duplicate).collect();
    assert_eq!(duplicates.len(), 1, "{:?}", merged.absent);
    assert!(duplicates[0].folder.as_ref().unwrap().contains("published-c"));
    runs.run("d/vanilla", "vanilla", 1, 2, |record| record["dataset"]["fingerprint"] = "other".into());
    let (code, _, error) = mkgc(&place, &["report", "published-a", "d", "--publish", "e"], |_| ());
    assert!(code == 2 && error.contains("data (fingerprint)") && !runs.path("e").exists(), "{error}");
}

#[test]
fn a_table_shows_what_every_run_is_doing() {
    let runs = Runs::new();
    let finished = runs.plain("runs/emr", "emr", 1, 8);
    let result = mkgc_harness::metrics::score::score_run(&RunFolder::new(&finished)).unwrap();
    mkgc_harness::files::write_json(&finished.join("result.json"), &result).unwrap();
    let half = runs.run("runs/lwf", "ewc", 2, 8, |record| record["variant"] = "\u{1b}[31m".into());
    fs_err::remove_file(half.join("result.json")).unwrap();
    fs_err::remove_dir_all(half.join("stages/1")).unwrap();
    let line = r#"{"stage":1,"epoch":0,"step":150,"loss":0.25,"lr_encoder":0.1,"samples_per_s":12.0,"memory_mib":1}"#;
    fs_err::write(half.join("metrics.jsonl"), line).unwrap();
    cut(runs.plain("runs/damaged", "vanilla", 3, 8).join("run.json"));
    let lock = Lock::take(&RunFolder::new(&half)).unwrap();
    let (code, table, error) = mkgc(&runs.path(""), &["watch", "runs"], |_| ());
    assert_eq!((code, error.as_str()), (0, ""));
    assert!(table.starts_with("3 runs: 1 finished, 1 running, 0 stopped, 1 failed;"), "{table}");
    let row = |method: &str| table.lines().find(|line| line.contains(method)).unwrap_or_else(|| panic!("{table}"));
    assert!(row(" emr ").contains(" finished  2/2 ") && row(" emr ").ends_with(" 87.5 %"), "{table}");
    assert!(row(" ewc ").contains(" running   1/2 ") && row(" ewc ").ends_with("step 150, loss 0.2500, 12.0 rows/s"));
    assert!(row(" vanilla ").contains("run.json: line 1: is not JSON") && !table.contains('\u{1b}'), "{table}");
    drop(lock);
    let stopped = watch::look(&[runs.path("runs/lwf")], SystemTime::now()).unwrap();
    assert_eq!((stopped[0].doing.clone(), stopped[0].goes_on()), (Doing::Stopped, false));
    let json: Value = serde_json::from_slice(&fs_err::read(finished.join("result.json")).unwrap()).unwrap();
    assert_eq!(json["train_seed"], 1);
}
