//! Damaged runs are rows with their cause.

use mkgc_harness::escape::markdown;
use mkgc_harness::files::write_json;
use mkgc_harness::metrics::score::score_run;
use mkgc_harness::run::RunFolder;
use mkgc_harness::run::predictions::PredictionRow;
use serde_json::Value;

use crate::common::runs::{Runs, row};
use crate::{cut, mkgc};

/// One whole run of EMR and one of Vanilla for each way to damage a run, with the cause that is to be shown.
fn damaged(runs: &Runs) -> Vec<(&'static str, &'static str)> {
    runs.plain("runs/emr", "emr", 1, 8);
    let vanilla = |seed: u64| runs.plain(&format!("runs/vanilla{seed}"), "vanilla", seed, 2);
    cut(vanilla(1).join("run.json"));
    // Of this one, no file says whose run it is.
    let nameless = vanilla(2);
    fs_err::write(nameless.join("run.json"), "").unwrap();
    fs_err::write(nameless.join("result.json"), "{}").unwrap();
    let failed = vanilla(3);
    fs_err::remove_file(failed.join("result.json")).unwrap();
    fs_err::write(failed.join("failure.json"), r#"{"schema_version": 4, "error": ["no "#).unwrap();
    fs_err::write(vanilla(4).join("result.json"), r#"{"schema_version": 4, "met"#).unwrap();
    cut(vanilla(5).join("stages/1/predictions.parquet"));
    let later = vanilla(6).join("run.json");
    let text = fs_err::read_to_string(&later).unwrap();
    fs_err::write(later, text.replace("\"schema_version\":4", "\"schema_version\":99")).unwrap();
    fs_err::write(vanilla(7).join("result.json"), r#"{"method": "emr", "train_seed": 7}"#).unwrap();
    fs_err::remove_file(vanilla(8).join("run.json")).unwrap();
    fs_err::write(vanilla(9).join("result.json"), r#"{"schema_version": 99}"#).unwrap();
    runs.predicted("runs/vanilla10", "vanilla", 10, |_| vec![unknown_label()], |_| ());
    vec![
        ("vanilla1", "run.json: line 1: is not JSON: the text ends too early; restore the file"),
        ("vanilla2", "run.json: line 1: is not JSON: the text ends too early; restore the file"),
        ("vanilla3", "failure.json: line 1: is not JSON: the text ends too early"),
        ("vanilla4", "result.json: line 1: is not JSON: the text ends too early; restore the file"),
        ("vanilla5", "predictions.parquet: is no whole Parquet file; restore the file"),
        ("vanilla6", "schema version 99, this mkgc reads 1 to 4"),
        ("vanilla7", "is of another run: its method is \"emr\", and run.json has \"vanilla\""),
        ("vanilla8", "has no run.json"),
        ("vanilla9", "schema version 99, this mkgc reads 1 to 4; use a later mkgc"),
        ("vanilla10", "row `0` has label 9, and the benchmark has 3 labels"),
    ]
}

fn unknown_label() -> PredictionRow {
    PredictionRow { predicted: vec![9], ..row(0, 0, 2) }
}

#[test]
fn a_damaged_run_is_a_failed_row_in_every_form() {
    let runs = Runs::new();
    let causes = damaged(&runs);
    let (code, text, error) = mkgc(&runs.path(""), &["report", "runs", "--out", "report"], |_| ());
    assert_eq!((code, error.as_str()), (0, ""));
    let read = |name: &str| fs_err::read_to_string(runs.path("report").join(name)).unwrap();
    let json: Value = serde_json::from_str(&read("board.json")).unwrap();
    let absent = json[0]["absent"].as_array().unwrap();
    let failed: Vec<&Value> = absent.iter().filter(|run| run["kind"] == "failed").collect();
    assert_eq!((json.as_array().unwrap().len(), failed.len()), (1, causes.len()), "{absent:?}");
    let csv = read("absent.csv");
    let page = read("report.html").replace("&#x2f;", "/").replace("&quot;", "\"");
    for (folder, cause) in causes {
        let in_folder = |run: &&&Value| run["folder"].as_str().unwrap().ends_with(&format!("/{folder}"));
        let run = failed.iter().find(in_folder).unwrap();
        let said = run["cause"].as_str().unwrap();
        assert!(said.contains(cause), "{folder}: {said}");
        for words in ["EOF", "expected value", "Parquet error", "os error", "missing field"] {
            assert!(!said.contains(words), "{said}");
        }
        let row = text.lines().find(|line| line.contains(&markdown(said)));
        assert!(row.is_some_and(|row| row.contains("| failed |")), "{folder}: {text}");
        assert!(csv.lines().any(|line| line.contains("failed") && line.contains(&cause.replace('"', "\"\""))), "{csv}");
        assert!(page.contains(&format!("failed: {said}")), "{folder}");
    }
    // What remains of a record says whose row it is.
    let of = |folder: &str| failed.iter().find(|run| run["folder"].as_str().unwrap().ends_with(folder)).unwrap();
    assert_eq!(of("/vanilla1")["label"], "vanilla");
    assert_eq!(of("/vanilla2")["label"], "vanilla2");
    assert!(json[0]["entries"].as_array().unwrap().iter().all(|entry| entry["label"] == "emr"));
}

#[test]
fn a_damaged_run_fails_the_gate_with_its_cause() {
    let runs = Runs::new();
    let causes = damaged(&runs);
    let whole = RunFolder::new(&runs.path("runs/emr"));
    write_json(&whole.result(), &score_run(&whole).unwrap()).unwrap();
    let place = runs.path("");
    let update = ["gate", "--baseline", "b.json", "--update", "--tolerance", "0.1"];
    let (code, _, error) = mkgc(&place, &[&update[..], &["runs/emr"]].concat(), |_| ());
    assert_eq!(code, 0, "{error}");
    assert_eq!(mkgc(&place, &["gate", "--baseline", "b.json", "runs/emr"], |_| ()).0, 0);
    let (code, table, error) = mkgc(&place, &["gate", "--baseline", "b.json", "runs", "--junit", "j.xml"], |_| ());
    assert_eq!((code, error.as_str()), (1, ""), "{table}");
    let xml = fs_err::read_to_string(runs.path("j.xml")).unwrap();
    let document = roxmltree::Document::parse(&xml).unwrap();
    let messages: Vec<&str> = document.descendants().filter_map(|node| node.attribute("message")).collect();
    // A run with a readable record is one that the baseline does not ask for.
    for folder in ["vanilla1", "vanilla2", "vanilla6", "vanilla8"] {
        let cause = causes.iter().find(|(name, _)| *name == folder).unwrap().1;
        let named = |text: &str| text.contains(&format!("runs/{folder}: ")) && text.contains(cause);
        assert!(table.lines().any(|line| named(line) && line.contains("**FAIL**")), "{folder}: {table}");
        assert!(messages.iter().any(|message| named(message)), "{folder}: {messages:?}");
    }
    let (code, _, error) = mkgc(&place, &[&update[..], &["runs"]].concat(), |_| ());
    assert!(code == 2 && error.contains("its record cannot be read"), "{error}");
    // One that it asks for fails with what became of it.
    cut(whole.result());
    let (code, table, _) = mkgc(&place, &["gate", "--baseline", "b.json", "runs/emr"], |_| ());
    assert!(code == 1 && table.contains("failed: its result cannot be used"), "{table}");
}
