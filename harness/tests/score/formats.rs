//! What Python, pandas, NumPy and spreadsheets write is read as they mean it, or refused with the rule.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, DictionaryArray, FixedSizeListArray, Float32Array, Float64Array, LargeStringArray,
    StringArray,
};
use arrow::datatypes::{Float64Type, Int32Type};
use mkgc_builder::corpus::Extraction;
use mkgc_harness::run::predictions::PredictionRow;
use serde_json::json;

use crate::submission::Submission;

fn relations() -> Submission {
    Submission::perfect(Extraction::Relations)
}

fn joined(scores: &[f32], between: &str, none: &str) -> String {
    let written = |score: &f32| if score.is_finite() { format!("{score:?}") } else { none.to_owned() };
    scores.iter().map(written).collect::<Vec<_>>().join(between)
}

#[test]
fn a_label_without_a_score_may_be_written_in_many_ways() {
    let own = relations();
    for (i, none) in ["NaN", "-Infinity", "null"].into_iter().enumerate() {
        let line = |(stage, row): &(usize, PredictionRow)| {
            let (names, scores) = (own.names(row), joined(&row.scores, ", ", none));
            format!(r#"{{"stage": {stage}, "id": "{}", "prediction": "{}", "scores": [{scores}]}}"#, row.id, names[0])
        };
        let text: Vec<String> = own.rows().iter().map(line).collect();
        let file = own.file(&format!("{i}.jsonl"), text.join("\n"));
        assert_eq!(own.check_perfect(&file), [""; 0], "{none}");
    }
    for (i, (open, between, none, close)) in [
        ("", " ", "-inf", ""),
        ("", " ", "nan", ""),
        ("\"[", ", ", "nan", "]\""),
        ("\"[", ", ", "None", "]\""),
        ("[", " ", "-inf", "]"),
        ("\"[", ",\n ", "-Infinity", "]\""),
        ("\"array([", ", ", "nan", "], dtype=float32)\""),
    ]
    .into_iter()
    .enumerate()
    {
        let scores = |scores: &[f32]| format!("{open}{}{close}", joined(scores, between, none));
        let file = own.csv_of(&format!("{i}.csv"), |names| names[0].to_owned(), scores);
        assert_eq!(own.check_perfect(&file), [""; 0], "{open}{none}");
    }
}

/// The columns of both stages as Python's writers may choose them.
fn columns(own: &Submission) -> Vec<(&'static str, ArrayRef)> {
    let (mut stages, mut ids, mut names, mut scores) = (vec![], vec![], vec![], vec![]);
    for (stage, row) in own.rows() {
        stages.push(Some(*stage as f64));
        ids.push(row.id.as_str());
        names.push(own.names(row)[0]);
        // NaN and null stand for no score, too.
        let score = |(i, score): (usize, &f32)| {
            score.is_finite().then_some(f64::from(*score)).or((i % 2 == 0).then_some(f64::NAN))
        };
        scores.push(Some(row.scores.iter().enumerate().map(score).collect::<Vec<_>>()));
    }
    let width = own.labels.len() as i32;
    vec![
        ("stage", Arc::new(Float64Array::from(stages))),
        ("id", Arc::new(LargeStringArray::from(ids))),
        ("prediction", Arc::new(names.into_iter().collect::<DictionaryArray<Int32Type>>())),
        ("scores", Arc::new(FixedSizeListArray::from_iter_primitive::<Float64Type, _, _>(scores, width))),
    ]
}

#[test]
fn columns_of_parquet_may_have_any_type_that_fits() {
    let own = relations();
    assert_eq!(own.check_perfect(&own.parquet_of("all.parquet", columns(&own))), [""; 0]);
    let mut ids = columns(&own);
    let predicted: Float32Array = own.rows().iter().map(|(_, row)| Some(row.predicted[0] as f32)).collect();
    ids[2].1 = Arc::new(predicted);
    assert_eq!(own.check_perfect(&own.parquet_of("ids.parquet", ids)), [""; 0]);
    let mut truths = columns(&own);
    truths[2].1 = Arc::new(BooleanArray::from(vec![true; own.rows().len()]));
    let error = own.error_of(&[own.parquet_of("truths.parquet", truths)]);
    assert!(
        error.contains("truths.parquet: predictions that are neither text, numbers nor lists of them: "),
        "{error}"
    );
    assert!(error.contains("\n    row 1: "), "{error}");
}

#[test]
fn stages_of_every_format_are_whole_numbers() {
    let own = relations();
    let mut lines = own.json();
    lines[0]["stage"] = json!(0.0);
    lines[1]["stage"] = json!("0");
    own.check_perfect(&own.jsonl("floats.jsonl", &lines));
    own.check_perfect(&own.file("floats.csv", csv(&own, |stage| format!("{stage}.0"))));
    lines[0]["stage"] = json!(0.7);
    lines[1]["stage"] = json!(null);
    lines[2]["stage"] = json!("first");
    lines[3]["stage"] = json!(-1);
    lines[4]["stage"] = json!(true);
    let error = own.error(&lines);
    let [a, b, c, d, e] = [0, 1, 2, 3, 4].map(|row: usize| &own.rows()[row].1.id);
    for part in [
        format!(
            "wrong.jsonl: stages that are not whole numbers from 0: 4\n    line 1: {a}: 0.7\n    line 3: {c}: `first`\n    \
             line 4: {d}: -1\n    line 5: {e}: a truth value, an object or the like"
        ),
        format!("wrong.jsonl: rows without a stage: 1\n    line 2: {b}: nothing in the column `stage`"),
    ] {
        assert!(error.contains(&part), "{part} in {error}");
    }
    assert!(!error.contains("without a prediction"), "which rows are missing cannot be told: {error}");
    let error = own.error_of(&[own.file("wrong.csv", csv(&own, |stage| format!("{stage}.7")))]);
    assert!(
        error.contains("wrong.csv: stages that are not whole numbers from 0")
            && error.contains(&format!("line 2: {a}: `0.7`")),
        "{error}"
    );
    let mut wrong = columns(&own);
    let mut stages: Vec<Option<f64>> = own.rows().iter().map(|(stage, _)| Some(*stage as f64)).collect();
    stages[0] = Some(0.7);
    stages[1] = Some(f64::NAN);
    stages[2] = None;
    wrong[0].1 = Arc::new(Float64Array::from(stages));
    let error = own.error_of(&[own.parquet_of("wrong.parquet", wrong)]);
    let kind = "wrong.parquet: stages that are not whole numbers from 0: 1";
    assert!(error.contains(&format!("{kind}\n    row 1: {a}: 0.7")), "{error}");
    assert!(
        error.contains(&format!("wrong.parquet: rows without a stage: 2\n    row 2: {b}: "))
            && error.contains(&format!("\n    row 3: {c}: ")),
        "{error}"
    );
}

/// Returns a CSV with the stages as `stage` writes them.
fn csv(own: &Submission, stage: impl Fn(usize) -> String) -> String {
    let row = |(number, row): &(usize, PredictionRow)| {
        let scores = joined(&row.scores, " ", "-inf");
        format!("{},{},{},{scores}\n", stage(*number), row.id, own.names(row)[0])
    };
    format!("stage,id,prediction,scores\n{}", own.rows().iter().map(row).collect::<String>())
}

/// Writes a list of labels as a program does.
type Written<'a> = &'a dyn Fn(&[&str]) -> String;

#[test]
fn tags_may_be_a_list_as_pandas_writes_it() {
    let own = Submission::perfect(Extraction::Entities);
    let quoted =
        |names: &[&str], between: &str| names.iter().map(|name| format!("'{name}'")).collect::<Vec<_>>().join(between);
    let no_scores = |_: &[f32]| String::new();
    let lists: [(&str, Written); 6] = [
        ("python.csv", &|names| format!("\"[{}]\"", quoted(names, ", "))),
        ("numpy.csv", &|names| format!("[{}]", quoted(names, " "))),
        ("lines.csv", &|names| format!("\"[{}]\"", quoted(names, "\n "))),
        ("json.csv", &|names| format!("\"[\"\"{}\"\"]\"", names.join("\"\", \"\""))),
        ("array.csv", &|names| format!("\"array([{}], dtype=object)\"", quoted(names, ", "))),
        ("spaced.csv", &|names| format!("\" {} \"", names.join("  "))),
    ];
    for (file, list) in lists {
        assert_eq!(own.check_perfect(&own.csv_of(file, list, no_scores)), [""; 0], "{file}");
    }
    // Ids instead of names, and a text instead of a list.
    let mut lines = own.json();
    for (line, (_, row)) in lines.iter_mut().zip(own.rows()) {
        line["prediction"] = json!(row.predicted);
    }
    lines[0]["prediction"] = json!(own.names(&own.rows()[0].1).join(" "));
    assert_eq!(own.check_perfect(&own.jsonl("ids.jsonl", &lines)), [""; 0]);
    let cut = own.csv_of("cut.csv", |names| format!("['{}' ... 'O']", names[0]), no_scores);
    let error = own.error_of(&[cut]);
    assert!(
        error.contains("cut.csv: lists that NumPy or PyTorch cut short with `...` (write what `.tolist()`"),
        "{error}"
    );
}

#[test]
fn csv_may_come_from_a_spreadsheet() {
    let own = relations();
    let plain = csv(&own, |stage| stage.to_string());
    own.check_perfect(&own.file("mark.csv", format!("\u{FEFF}{plain}")));
    own.check_perfect(&own.file("windows.CSV", plain.replace('\n', "\r\n")));
    own.check_perfect(&own.file("spaced.csv", plain.replace(',', " , ")));
    let quoted = |line: &str| format!(",\"{}\"\n", line.replace(',', "\",\""));
    own.check_perfect(&own.file("quoted.csv", plain.lines().map(quoted).collect::<String>()));
    let lines = own.json().iter().map(|line| format!("{line}\r\n\r\n")).collect::<String>();
    own.check_perfect(&own.file("mark.jsonl", format!("\u{FEFF}{lines}")));
}

#[test]
fn a_label_that_pandas_lost_is_told_with_the_rule() {
    let own = relations();
    let lost = |names: &[&str]| if names[0] == "None" { String::new() } else { names[0].to_owned() };
    let nones = own.rows().iter().filter(|(_, row)| own.names(row)[0] == "None").count();
    assert!(nones > 0);
    let empty = own.csv_of("lost.csv", lost, |_| String::new());
    let mut lines = own.json();
    for line in lines.iter_mut().filter(|line| line["prediction"] == "None") {
        line["prediction"] = json!(null);
    }
    let mut with_null = columns(&own);
    let names = own.rows().iter().map(|(_, row)| Some(own.names(row)[0]).filter(|name| *name != "None"));
    with_null[2].1 = Arc::new(names.collect::<StringArray>());
    for file in [empty, own.jsonl("lost.jsonl", &lines), own.parquet_of("lost.parquet", with_null)] {
        let error = own.error_of(&[file]);
        let rule = "read with `keep_default_na=False`, or write `None` with `na_rep=\"None\"`";
        let of_kind = error.lines().find(|line| line.contains("predictions that are empty")).unwrap();
        assert!(of_kind.contains(rule) && of_kind.ends_with(&format!(": {nones}")), "{error}");
        assert!(!error.contains("without a prediction"), "the rows are there: {error}");
    }
}

#[test]
fn files_that_cannot_be_read_are_named_with_the_rule() {
    let own = relations();
    let expected = "expected are `id`, `prediction`, `stage` (or give the file as that of a stage: --predictions 0=FILE) and, \
                    optionally, `scores`; the file has ";
    let cases = [
        (
            own.file("a.csv", "stage;id;prediction\n0;x;None\n"),
            "a.csv: its 3 columns are separated by `;`; separate them by commas",
        ),
        (
            own.file("b.csv", "id\tprediction\nx\tNone\n"),
            "b.csv: its 2 columns are separated by tabs; separate them by commas",
        ),
        (
            own.file("c.csv", "stage,row_id,label\n0,x,None\n"),
            "c.csv: there is no column `id` (rename `row_id`?); there is no column `prediction` (rename `label`?)",
        ),
        (
            own.file("d.csv", "0,test-000000,None\n"),
            "the file has `0`, `test-000000`, `None`; the first line must be the heading",
        ),
        (own.file("e.csv", "Stage,id,prediction\n0,x,None\n"), "e.csv: there is no column `stage` (rename `Stage`?); "),
        (own.file("f.jsonl", "{\"id\": \"x\", \"prediction\": 0}\n"), "f.jsonl: there is no column `stage`; "),
        (
            own.file("g.jsonl", "{\"id\": 3}\n"),
            "g.jsonl: there is no column `stage`; there is no column `prediction`; ",
        ),
        (
            own.parquet_of("h.parquet", columns(&own).split_off(2)),
            "h.parquet: there is no column `stage`; there is no column `id`; ",
        ),
        (
            own.file("i.parquet", "damaged"),
            "i.parquet: is not Parquet, is damaged, or is compressed otherwise; write Parquet compressed with",
        ),
        (
            own.file("j.jsonl", "[{\"id\": \"x\"},\n{\"id\": \"y\"}]"),
            "j.jsonl: is a JSON list; write one object per line (in pandas:",
        ),
        (own.file("k.txt", ""), "k.txt: is none of .parquet, .jsonl and .csv"),
        (own.file("l.csv", ""), "l.csv: has no rows"),
        (own.file("m.jsonl", "\n"), "m.jsonl: has no rows"),
        (own.file("n.csv", "stage,id,prediction\n"), "n.csv: has no rows"),
        (own.file("o.csv", b"\xFF\xFEi\0d\0"), "o.csv: is UTF-16; write it as UTF-8"),
        (own.file("p.jsonl", b"{}\n\xE9\n"), "p.jsonl: line 2 is not UTF-8"),
        (own.path("missing.csv").display().to_string(), "missing.csv: no such file"),
        (own.path("").display().to_string(), ": is a folder; give the files in it"),
        (format!("1={}", own.file("q.csv", "id,prediction\n")), "q.csv: has no rows"),
    ];
    for (file, message) in &cases {
        let error = own.error_of(std::slice::from_ref(file));
        assert!(error.contains(message), "{message} in {error}");
        assert_eq!(error.contains("there is no column"), error.contains(expected), "{error}");
    }
    // All of them at once.
    let files: Vec<String> = cases.iter().map(|(file, _)| file.clone()).collect();
    let error = own.error_of(&files);
    for (_, message) in &cases {
        assert!(error.contains(message), "{message} in {error}");
    }
}
