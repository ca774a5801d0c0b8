//! `mkgc score`: mkgc's own predictions come back with the same numbers from every format, and every mistake in a file
//! is named.
#![allow(clippy::unwrap_used)]

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, ListBuilder, RecordBatch, StringArray, StringBuilder};
use common::{Place, train};
use mkgc_builder::corpus::Extraction;
use mkgc_harness::external::{PredictionFile, ScoreRequest, score};
use mkgc_harness::metrics::score::RunResult;
use mkgc_harness::report;
use mkgc_harness::run::RunFolder;
use mkgc_harness::run::predictions::{self, PredictionRow};
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use serde_json::{Value, json};

/// A trained run, and a folder for files of predictions.
struct Scored {
    place: Place,
    folder: tempfile::TempDir,
    result: RunResult,
    labels: Vec<String>,
}

impl Scored {
    fn new(kind: Extraction) -> Self {
        let (place, folder) = (Place::new(kind), tempfile::tempdir().unwrap());
        let request = place.request("emr", "epochs = 2", &folder.path().join("own"));
        let labels = place.benchmark(&request.settings.config).manifest().labels.clone();
        let result = train(request).unwrap();
        Self { place, folder, result, labels }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn rows(&self) -> Vec<(usize, PredictionRow)> {
        let own = RunFolder::new(&self.path("own"));
        let stage =
            |stage| predictions::read(&own.predictions(stage)).unwrap().into_iter().map(move |row| (stage, row));
        (0..2).flat_map(stage).collect()
    }

    fn names(&self, row: &PredictionRow) -> Vec<&str> {
        row.predicted.iter().map(|label| self.labels[*label as usize].as_str()).collect()
    }

    /// The rows as JSON.
    fn json(&self) -> Vec<Value> {
        let scores = |row: &PredictionRow| -> Vec<Option<f32>> {
            row.scores.iter().map(|score| score.is_finite().then_some(*score)).collect()
        };
        let line = |(stage, row): (usize, PredictionRow)| {
            let names = self.names(&row);
            let prediction = if self.place.kind() == Extraction::Relations { json!(names[0]) } else { json!(names) };
            json!({"stage": stage, "id": row.id, "prediction": prediction, "scores": scores(&row)})
        };
        self.rows().into_iter().map(line).collect()
    }

    fn jsonl(&self, name: &str, lines: &[Value]) -> PathBuf {
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        fs_err::write(self.path(name), text).unwrap();
        self.path(name)
    }

    fn csv(&self, name: &str) -> PathBuf {
        let mut text = "stage,id,prediction,scores\n".to_owned();
        for (stage, row) in self.rows() {
            let scores: Vec<String> = row.scores.iter().map(f32::to_string).collect();
            text += &format!("{stage},{},{},{}\n", row.id, self.names(&row).join(" "), scores.join(" "));
        }
        fs_err::write(self.path(name), text).unwrap();
        self.path(name)
    }

    /// Relations as ids, tags as lists of names; one file per stage.
    fn parquet(&self, name: &str, stage: usize) -> PathBuf {
        let rows: Vec<PredictionRow> =
            self.rows().into_iter().filter(|(own, _)| *own == stage).map(|(_, row)| row).collect();
        let ids: ArrayRef = Arc::new(rows.iter().map(|row| Some(row.id.as_str())).collect::<StringArray>());
        let prediction: ArrayRef = if self.place.kind() == Extraction::Relations {
            Arc::new(rows.iter().map(|row| Some(i64::from(row.predicted[0]))).collect::<Int64Array>())
        } else {
            let mut list = ListBuilder::new(StringBuilder::new());
            rows.iter().for_each(|row| list.append_value(self.names(row).into_iter().map(Some)));
            Arc::new(list.finish())
        };
        let batch = RecordBatch::try_from_iter([("id", ids), ("prediction", prediction)]).unwrap();
        let file = fs_err::File::create(self.path(name)).unwrap();
        // What Python's writers do unless told otherwise.
        let snappy = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
        let mut writer = parquet::arrow::ArrowWriter::try_new(file, batch.schema(), Some(snappy)).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        self.path(name)
    }

    fn request(&self, predictions: &[String], out: &str) -> ScoreRequest {
        ScoreRequest {
            benchmark: self.place.built(),
            predictions: predictions.iter().map(|source| source.parse::<PredictionFile>().unwrap()).collect(),
            name: "My model".to_owned(),
            description: None,
            url: None,
            train_seed: 7,
            out: self.path(out),
        }
    }

    fn error(&self, lines: &[Value]) -> String {
        let file = self.jsonl("wrong.jsonl", lines).display().to_string();
        let error = score(&self.request(&[file], "wrong")).unwrap_err().to_string();
        assert!(!self.path("wrong").exists(), "nothing is written");
        error
    }
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

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
        let own = Scored::new(kind);
        let parquet = [0, 1].map(|stage| format!("{stage}={}", text(&own.parquet(&format!("{stage}.parquet"), stage))));
        let files = [
            ("jsonl", vec![text(&own.jsonl("all.jsonl", &own.json()))]),
            ("csv", vec![text(&own.csv("all.csv"))]),
            ("parquet", parquet.to_vec()),
        ];
        for (format, files) in files {
            let result = score(&own.request(&files, format)).unwrap();
            assert_eq!((result.method.as_str(), result.train_seed), ("My model", 7));
            // These Parquet files have no class scores, which masks need.
            let [result, expected] =
                [&result, &own.result].map(|of| if format == "parquet" { unmasked(of) } else { of.clone() });
            assert_eq!(result.stages, expected.stages, "{format}");
            assert_eq!((result.matrix, result.continual), (expected.matrix, expected.continual), "{format}");
            let rows = |folder: &str| predictions::read(&RunFolder::new(&own.path(folder)).predictions(1)).unwrap();
            let scored =
                |row: PredictionRow| if format == "parquet" { PredictionRow { scores: vec![], ..row } } else { row };
            assert_eq!(rows(format), rows("own").into_iter().map(scored).collect::<Vec<_>>(), "{format}");
        }
    }
}

#[test]
fn an_external_run_stands_on_the_board_and_claims_no_settings() {
    let own = Scored::new(Extraction::Relations);
    score(&own.request(&[text(&own.csv("all.csv"))], "scored")).unwrap();
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
    let own = Scored::new(Extraction::Relations);
    let all = score(&own.request(&[text(&own.csv("all.csv"))], "all")).unwrap();
    let mut lines = own.json();
    lines.retain(|line| line["stage"] == 1);
    let last = score(&own.request(&[text(&own.jsonl("last.jsonl", &lines))], "last")).unwrap();
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
fn all_mistakes_are_told_at_once_with_counts_and_examples() {
    let own = Scored::new(Extraction::Relations);
    let mut lines = own.json();
    let first: Vec<usize> = (0..lines.len()).filter(|i| lines[*i]["stage"] == 0).collect();
    let late = own.labels.iter().find(|label| label.contains("member_of")).unwrap().clone();
    let (extra, strange) = (lines[0].clone(), json!({"stage": 0, "id": "train-000000", "prediction": "None"}));
    lines[first[1]]["prediction"] = json!("/per/per/pear");
    lines[first[2]]["prediction"] = json!(late);
    lines[first[3]]["scores"] = json!([1.0]);
    lines.extend([extra, strange, json!({"stage": 2, "id": "test-000001", "prediction": "None"})]);
    let missing: Vec<Value> = lines.iter().rev().filter(|line| line["stage"] == 1).take(7).cloned().collect();
    lines.retain(|line| !missing.contains(line));
    let error = own.error(&lines);
    for part in [
        "rows of stages that do not exist (there are 0 to 1): 1 (test-000001 of stage 2)",
        "stage 0: ids given more than once: 1 (test-0",
        "stage 0: labels that the benchmark does not have: 1 (`/per/per/pear` for test-0",
        "stage 0: labels of tasks still to come: 1 (`/per/org/member_of` for test-0",
        "stage 0: scores that are not one per label (for tags, none): 1 (test-0",
        "stage 0: ids that are no test rows of this stage: 1 (train-000000)",
        "stage 1: test rows without a prediction: 7 (",
    ] {
        assert!(error.contains(part), "{part} in {error}");
    }
    assert!(error.lines().skip(1).all(|line| line.contains("wrong.jsonl")), "{error}");
    let examples = error.lines().find(|line| line.contains("without a prediction")).unwrap();
    assert!(examples.matches("test-").count() == 5 && examples.ends_with(", …)"), "{examples}");
}

#[test]
fn tags_must_be_one_per_word_and_have_no_scores() {
    let own = Scored::new(Extraction::Entities);
    let mut lines = own.json();
    lines[0]["prediction"] = json!(["O"]);
    lines[1]["scores"] = json!([0.5, 0.5]);
    let error = own.error(&lines);
    assert!(error.contains("stage 0: predictions that are not one tag per word: 1 (test-0"), "{error}");
    assert!(error.contains("scores that are not one per label (for tags, none): 1"), "{error}");
    lines.retain(|line| line["stage"] == 0);
    assert!(own.error(&lines).contains("no predictions of the last stage, by which runs are ranked: 1 (stage 1)"));
}

#[test]
fn files_that_cannot_be_read_are_named_with_the_place() {
    let own = Scored::new(Extraction::Relations);
    let file = |name: &str, text: &str| {
        fs_err::write(own.path(name), text).unwrap();
        own.path(name)
    };
    let cases = [
        (format!("{}", file("a.jsonl", "{\"id\": 3}\n").display()), "a.jsonl: line 1: "),
        (text(&file("b.jsonl", "{\"id\": \"x\", \"prediction\": 0}\n")), "row x has no stage; add the column `stage`"),
        (
            format!("1={}", text(&file("c.csv", "stage,id,prediction\n0,x,None\n"))),
            "is of stage 0, the file was given as stage 1",
        ),
        (text(&file("d.csv", "stage,id\n0,x\n")), "d.csv: there is no column `prediction`"),
        (
            text(&file("e.csv", "stage,id,prediction\nlast,x,None\n")),
            "row 1 below the heading: `stage` is not a number",
        ),
        (text(&file("f.txt", "")), "f.txt: is none of .parquet, .jsonl and .csv"),
        (text(&file("g.parquet", "damaged")), "write Parquet compressed with"),
    ];
    for (source, message) in cases {
        let error = score(&own.request(&[source], "wrong")).unwrap_err().to_string();
        assert!(error.contains(message), "{message} in {error}");
    }
}

#[test]
fn names_of_own_methods_and_damaged_benchmarks_are_refused() {
    let own = Scored::new(Extraction::Relations);
    let (file, built, out) = (own.csv("all.csv"), own.place.built(), own.path("wrong"));
    let run = |name: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mkgc"));
        command.arg("score").arg("--data").arg(&built).arg("--predictions").arg(&file).args(["--name", name]);
        let output = command.arg("--out").arg(&out).output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, error) = run("EMR");
    assert!(code == 2 && error.contains("`emr` is a method of mkgc; choose another name"), "{error}");
    assert!(run("a|b").1.contains("without `|`"));
    fs_err::write(built.join("tasks/task_00_test.parquet"), "x").unwrap();
    let (code, error) = run("Mine");
    assert!(code == 2 && error.contains("tasks/task_00_test.parquet: SHA-256") && !out.exists(), "{error}");
}
