//! Mistakes in predictions are all told at once, with their numbers, lines and remedies.

use std::path::Path;

use mkgc_builder::build::{BuildOptions, CorpusSource, build};
use mkgc_builder::corpus::{Annotation, Corpus, Extraction, Instance, Mention, Relation, Words};
use mkgc_harness::external::{PredictionFile, ScoreRequest, score};
use serde_json::{Value, json};

use crate::submission::Submission;

#[test]
fn all_mistakes_are_told_at_once_with_counts_and_lines() {
    let own = Submission::perfect(Extraction::Relations);
    let mut lines = own.json();
    let late = own.labels.iter().find(|label| label.contains("member_of")).unwrap().clone();
    let first = |i: usize| own.rows()[i].1.id.clone();
    assert!(own.rows()[..4].iter().all(|(stage, _)| *stage == 0), "lines 1 to 4 are of stage 0");
    let all = lines.len();
    lines[1]["prediction"] = json!("/per/per/pear");
    lines[2]["prediction"] = json!(late);
    lines[3]["scores"] = json!([1.0]);
    lines.push(lines[0].clone());
    lines.push(json!({"stage": 0, "id": "train-000000", "prediction": "None"}));
    lines.push(json!({"stage": 2, "id": "test-000001", "prediction": "None"}));
    let missing: Vec<usize> = (all - 7..all).collect();
    let missed: Vec<String> = missing.iter().map(|i| first(*i)).collect();
    missing.iter().for_each(|_| drop(lines.remove(all - 7)));
    let line = all - 7 + 1;
    let error = own.error(&lines);
    for part in [
        format!(
            "rows of stages that do not exist (there are 0 to 1): 1\n    line {}: test-000001 of stage 2",
            line + 2
        ),
        format!("stage 0: ids given more than once: 1\n    line {line}: {}, first in line 1\n", first(0)),
        format!(
            "stage 0: labels that the benchmark does not have: 1\n    line 2: {}: `/per/per/pear` (did you mean `/per/per/peer`?)",
            first(1)
        ),
        format!("stage 0: labels of tasks still to come: 1\n    line 3: {}: `{late}`", first(2)),
        format!("stage 0: scores that are not one per label (for tags, none): 1\n    line 4: {}: 1 for 3", first(3)),
        format!(
            "stage 0: ids that are no test rows of stage 0, which look like `{}`: 1\n    line {}: train-000000",
            first(0),
            line + 1
        ),
        // Seven kinds share twenty examples.
        format!("stage 1: test rows without a prediction: 7\n    {}\n    {}\n    and 5 more", missed[0], missed[1]),
    ] {
        assert!(error.contains(&part), "{part} in {error}");
    }
    assert!(error.starts_with("the predictions cannot be scored; nothing was written\n  "), "{error}");
    let kinds = error.lines().skip(1).filter(|line| !line.starts_with("    "));
    assert!(kinds.clone().count() == 7 && kinds.clone().all(|line| line.contains("wrong.jsonl: ")), "{error}");
}

#[test]
fn twenty_lines_of_a_kind_are_shown_and_all_are_counted() {
    let own = Submission::perfect(Extraction::Entities);
    let mut text: String = own.json().iter().map(|line| format!("{line}\n")).collect();
    text.insert_str(0, &"{'stage': 0, 'id': 'test-000000', 'prediction': ['O']}\n".repeat(30));
    let error = own.error_of(&[own.file("wrong.jsonl", text)]);
    assert_eq!(error.lines().count(), 23, "{error}");
    let kind =
        "wrong.jsonl: lines in single quotes, as Python prints a dictionary (write what `json.dumps` returns): 30";
    assert!(
        error.contains(kind) && error.contains("\n    line 20: `{'stage': 0, ") && error.ends_with("and 10 more"),
        "{error}"
    );
}

#[test]
fn lines_that_are_no_objects_are_told_by_kind() {
    let own = Submission::perfect(Extraction::Relations);
    let mut lines: Vec<String> = own.json().iter().map(Value::to_string).collect();
    for wrong in
        ["{\"stage\": 0, ", "[0]", "3", "{\"stage\": 0 \"id\": 3}", "{\"stage\": 1, \"id\": {}, \"prediction\": 0}"]
    {
        lines.push(wrong.to_owned());
    }
    let n = lines.len() - 5;
    let error = own.error_of(&[own.file("wrong.jsonl", lines.join("\n"))]);
    for part in [
        format!(
            "lines that end within an object (write each object on one line): 1\n    line {}: `{{\"stage\": 0,`",
            n + 1
        ),
        format!("lines that are JSON but no object: 2\n    line {}: `[0]`\n    line {}: `3`", n + 2, n + 3),
        format!("lines that are not JSON: 1\n    line {}: ", n + 4),
        format!("ids that are not text: 1\n    line {}: a truth value, an object or the like", n + 5),
    ] {
        assert!(error.contains(&part), "{part} in {error}");
    }
}

#[test]
fn tags_must_be_one_per_word_and_have_no_scores() {
    let own = Submission::perfect(Extraction::Entities);
    let mut lines = own.json();
    let words = own.rows()[0].1.gold.len();
    lines[0]["prediction"] = json!(["O"]);
    lines[1]["scores"] = json!([0.5, 0.5]);
    lines[2]["prediction"][0] = json!("PER");
    let error = own.error(&lines);
    let id = |row: usize| &own.rows()[row].1.id;
    for part in [
        format!("stage 0: predictions that are not one tag per word: 1\n    line 1: {}: 1 for {words}", id(0)),
        format!("stage 0: scores that are not one per label (for tags, none): 1\n    line 2: {}: 2 for 0", id(1)),
        format!("stage 0: labels that the benchmark does not have: 1\n    line 3: {}: `PER` (did you mean `", id(2)),
    ] {
        assert!(error.contains(&part), "{part} in {error}");
    }
    let mut lines = own.json();
    lines.retain(|line| line["stage"] == 0);
    let error = own.error(&lines);
    assert!(error.ends_with("there are no predictions of the last stage, 1, by which runs are ranked"), "{error}");
}

#[test]
fn rows_of_a_later_stage_and_of_another_file_are_told_apart() {
    let own = Submission::perfect(Extraction::Relations);
    let mut lines = own.json();
    let stage = |line: &Value, stage: i64| line["stage"] == stage;
    let early: Vec<Value> = lines.iter().filter(|line| stage(line, 0)).map(|line| line["id"].clone()).collect();
    let later = lines.iter().find(|line| stage(line, 1) && !early.contains(&line["id"])).unwrap()["id"].clone();
    lines.push(json!({"stage": 0, "id": later, "prediction": "None"}));
    let error = own.error(&lines);
    let kind = "stage 0: ids of test rows that only later stages have: 1";
    assert!(error.contains(&format!("{kind}\n    line {}: {}", lines.len(), later.as_str().unwrap())), "{error}");
    let files = [own.parquet("1.parquet", 1), own.csv("all.csv")];
    let given = [format!("1={}", files[0]), format!("1={}", files[1])];
    let error = own.error_of(&given);
    assert!(error.contains("all.csv: rows of another stage than 1, as which the file was given: "), "{error}");
    assert!(error.contains(&format!("\n    line 2: {}: stage 0", own.rows()[0].1.id)), "{error}");
    let error = own.error_of(&[given[0].clone(), own.csv("all.csv")]);
    let line = own.rows().iter().position(|(stage, _)| *stage == 1).unwrap() + 2;
    assert!(
        error.contains(&format!("all.csv: stage 1: ids given more than once: {}", own.rows().len() + 2 - line)),
        "{error}"
    );
    assert!(
        error.contains(&format!("\n    line {line}: ")) && error.contains(&format!(", first in row 1 of {}", files[0])),
        "{error}"
    );
}

#[test]
fn every_row_needs_a_finite_score_or_none() {
    let own = Submission::perfect(Extraction::Relations);
    let mut lines = own.json();
    let id = |row: usize| &own.rows()[row].1.id;
    // The last label is not seen in stage 0: its score does not count.
    lines[0]["scores"] = json!([null, null, 1.0]);
    lines[2]["scores"] = json!([null, null, null]);
    lines[3]["scores"] = json!(0.5);
    lines[4]["scores"] = json!(["high", 0.5, 0.5]);
    let error = own.error(&lines);
    let kind = "scores without a finite number for any label seen so far (leave out `scores` if there are none): 2";
    assert!(error.contains(&format!("{kind}\n    line 1: {}\n    line 3: {}", id(0), id(2))), "{error}");
    let kind = "scores that are not a list of numbers: 2";
    assert!(
        error.contains(&format!("{kind}\n    line 4: {}: 0.5\n    line 5: {}: [`high`, 0.5, 0.5]", id(3), id(4))),
        "{error}"
    );
}

#[test]
fn scores_that_contradict_the_predictions_are_a_warning() {
    let own = Submission::perfect(Extraction::Relations);
    let mut lines = own.json();
    let id = |row: usize| &own.rows()[row].1.id;
    lines[0]["scores"] = json!([0.0, 0.0, 9.0]);
    lines[1]["scores"] = json!([0.5, 0.5, 0.5]);
    for line in &mut lines[2..4] {
        line["prediction"] = json!("None");
        line["scores"] = json!([-1.0, 0.5, 9.0]);
    }
    lines[4].as_object_mut().unwrap().remove("scores");
    // The first has its highest score for a label not seen, the second a tie.
    let warnings = own.score(&own.jsonl("strange.jsonl", &lines), "strange").warnings;
    let file = own.path("strange.jsonl").display().to_string();
    let peer = "`None`, but `/per/per/peer` has the highest score";
    assert_eq!(
        warnings,
        [
            format!(
                "{file}: stage 0: predictions that are not the label with the highest score (scores are in the order of the \
                 label ids): 2\n    line 3: {}: {peer}\n    line 4: {}: {peer}",
                id(2),
                id(3)
            ),
            format!(
                "{file}: stage 0: rows without scores beside rows with scores, so that the metrics of masked predictions are \
                 undefined: 1\n    line 5: {}",
                id(4)
            ),
        ]
    );
}

/// Without pictures; rows of relation `a`, that of the first task, are in the training and validation rows alone.
fn late(raw: &Path) {
    let row = |relation: &&str| {
        let mention = |start: usize| Mention { name: "Ann".into(), start, end: start + 1 };
        let relation = Relation { head: mention(0), tail: mention(2), relation: Some((*relation).into()) };
        let annotation = Annotation::Relation(Box::new(relation));
        Instance { row: 0, line: 0, id: None, tokens: Words::from(vec!["Ann", "met", "Ann"]), image: None, annotation }
    };
    let rows = [&["a", "b"][..], &["a"], &["b"]].map(|relations| relations.iter().map(row).collect());
    let corpus = Corpus::from_rows("made", Extraction::Relations, rows);
    let protocol = raw.join("late.toml");
    fs_err::write(&protocol, "name = \"late\"\ncorpus = \"made\"\nn_tasks = 2\n").unwrap();
    let options = BuildOptions::new(protocol.to_string_lossy(), raw, raw.join("built"));
    build(&BuildOptions { corpus: CorpusSource::Rows(Box::new(corpus)), ..options }).unwrap();
}

#[test]
fn a_stage_without_test_rows_needs_no_predictions() {
    let folder = tempfile::tempdir().unwrap();
    let raw = folder.path();
    late(raw);
    let request = |predictions: &[(&str, &str)], out: &str| {
        let file = |(stage, text): &(&str, &str)| {
            let path = raw.join(format!("{stage}.csv"));
            fs_err::write(&path, text).unwrap();
            format!("{stage}={}", path.display()).parse::<PredictionFile>().unwrap()
        };
        ScoreRequest {
            benchmark: raw.join("built"),
            predictions: predictions.iter().map(file).collect(),
            name: "My model".to_owned(),
            description: None,
            url: None,
            train_seed: 0,
            out: raw.join(out),
        }
    };
    let last = ("1", "id,prediction\ntest-000000,b\n");
    for (out, predictions) in [("one", &[last][..]), ("both", &[("0", "id,prediction\n"), last])] {
        let result = score(&request(predictions, out)).unwrap().result;
        assert_eq!(result.stages[1].micro_f1.number(), Some(1.0));
        assert!(result.stages[0].rows == 0 && result.stages[0].micro_f1.reason().is_some(), "{:?}", result.stages[0]);
    }
    let unknown = [("0", "id,prediction\ntest-000000,None\n"), last];
    let error = score(&request(&unknown, "wrong")).unwrap_err().to_string();
    assert!(
        error.contains("stage 0: ids of test rows that only later stages have: 1\n    line 2: test-000000"),
        "{error}"
    );
}
