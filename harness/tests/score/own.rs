//! mkgc's own predictions as those of another program.

use std::process::Command;

use mkgc_builder::corpus::Extraction;
use mkgc_harness::external::score;
use mkgc_harness::metrics::score::RunResult;
use mkgc_harness::report;
use mkgc_harness::run::predictions::PredictionRow;
use serde_json::{Value, json};

use crate::submission::Submission;

/// Without what needs class scores.
fn unmasked(result: &RunResult) -> RunResult {
    let mut result = result.clone();
    result.stages.iter_mut().for_each(|stage| stage.masked.clear());
    result.continual.retain(|metric, _| !metric.key().contains("masked"));
    result
}

#[test]
fn own_predictions_score_the_same_from_every_format() {
    for kind in [Extraction::Relations, Extraction::Entities] {
        let (own, trained) = Submission::trained(kind);
        let parquet = [0, 1].map(|stage| format!("{stage}={}", own.parquet(&format!("{stage}.parquet"), stage)));
        let files = [
            ("jsonl", vec![own.jsonl("all.jsonl", &own.json())]),
            ("csv", vec![own.csv("all.csv")]),
            ("parquet", parquet.to_vec()),
        ];
        for (format, files) in files {
            let scored = score(&own.request(&files, format)).unwrap();
            assert_eq!(scored.warnings, [""; 0], "{format}");
            let result = scored.result;
            assert_eq!((result.method.as_str(), result.train_seed), ("My model", 7));
            // These Parquet files have no class scores, which masks need.
            let [result, expected] =
                [&result, &trained].map(|of| if format == "parquet" { unmasked(of) } else { of.clone() });
            assert_eq!(result.stages, expected.stages, "{format}");
            assert_eq!((result.matrix, result.continual), (expected.matrix, expected.continual), "{format}");
            let scored =
                |row: PredictionRow| if format == "parquet" { PredictionRow { scores: vec![], ..row } } else { row };
            assert_eq!(own.stored(format), own.stored("own").into_iter().map(scored).collect::<Vec<_>>(), "{format}");
        }
    }
}

#[test]
fn an_external_run_stands_on_the_board_and_claims_no_settings() {
    let (own, _) = Submission::trained(Extraction::Relations);
    // The hub adds such files to every folder that it is given.
    fs_err::write(own.place.built().join(".gitattributes"), "x").unwrap();
    own.score(&own.csv("all.csv"), "scored");
    let runs = report::load(&[own.path("own"), own.path("scored")]).unwrap();
    let text = report::write(&report::boards(runs).unwrap(), &own.path("report")).unwrap();
    assert!(text.contains("\n| My model (external) |") && text.contains("\n| emr |"), "{text}");
    let record: Value = serde_json::from_str(&fs_err::read_to_string(own.path("scored/run.json")).unwrap()).unwrap();
    assert_eq!(record["config"], json!({"train_seed": 7}));
    assert!(record.get("encoder").is_none() && record.get("device").is_none(), "{record}");
    assert_eq!(record["external"]["predictions"][0]["name"], "all.csv");
    let error = score(&own.request(&["x.csv".to_owned()], "scored")).unwrap_err().to_string();
    assert!(error.contains("exists already"), "{error}");
}

#[test]
fn stages_may_be_left_out_but_the_last() {
    let (own, _) = Submission::trained(Extraction::Relations);
    let all = own.score(&own.csv("all.csv"), "all").result;
    let mut lines = own.json();
    lines.retain(|line| line["stage"] == 1);
    let last = own.score(&own.jsonl("last.jsonl", &lines), "last").result;
    assert_eq!(last.stages[1], all.stages[1]);
    assert_eq!((last.stages[0].rows, last.matrix[0].len()), (0, 0));
    assert_eq!(last.stages[0].micro_f1.reason().unwrap(), "undefined: no predictions after task 1");
    assert_eq!(last.continual["last_micro_f1"], all.continual["last_micro_f1"]);
    let forgetting = &last.continual["forgetting_chaudhry18"];
    assert_eq!(forgetting.reason().unwrap(), "undefined: no predictions after task 1");
    let runs = report::load(&[own.path("own"), own.path("last")]).unwrap();
    let page = report::write(&report::boards(runs).unwrap(), &own.path("report")).unwrap();
    assert!(page.contains("My model (external)") && page.contains("undefined"), "{page}");
}

#[test]
fn the_command_refuses_names_of_own_methods_and_damaged_benchmarks_and_warns() {
    let own = Submission::perfect(Extraction::Relations);
    let (built, out) = (own.place.built(), own.path("wrong"));
    let run = |name: &str, file: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mkgc"));
        command.arg("score").arg("--data").arg(&built).arg("--predictions").arg(file).args(["--name", name]);
        let output = command.arg("--out").arg(&out).output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let file = own.csv("all.csv");
    let (code, error) = run("EMR", &file);
    assert!(code == 2 && error.contains("`emr` is a method of mkgc; choose another name"), "{error}");
    assert!(run("a|b", &file).1.contains("without `|`"));
    let (code, error) = run("Mine", &format!("0.7={file}"));
    assert!(code == 2 && error.contains("stages are whole numbers from 0, which `0.7` is not"), "{error}");
    let mut lines = own.json();
    lines[0]["scores"] = json!([9.0, 0.0, null]);
    lines[0]["prediction"] = json!(own.labels[1]);
    let (code, warning) = run("Mine", &own.jsonl("strange.jsonl", &lines));
    assert!(code == 0 && warning.starts_with("warning: ") && warning.contains("strange.jsonl: stage 0: "), "{warning}");
    fs_err::remove_dir_all(&out).unwrap();
    fs_err::write(built.join("tasks/task_00_test.parquet"), "x").unwrap();
    let (code, error) = run("Mine", &file);
    assert!(code == 2 && error.contains("tasks/task_00_test.parquet: SHA-256") && !out.exists(), "{error}");
}
