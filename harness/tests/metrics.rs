//! Metrics against scikit-learn and seqeval. `tools/golden/metrics.py` made the numbers.
#![allow(clippy::unwrap_used)]

use mkgc_builder::corpus::Extraction;
use mkgc_harness::metrics::value::{Mean, Value as Score};
use mkgc_harness::metrics::{Counts, StageMetric, relation, span, stage};
use mkgc_harness::run::predictions::PredictionRow;
use mkgc_harness::run::record::{DatasetRecord, TaskRecord};
use serde_json::Value;

fn golden() -> Value {
    serde_json::from_str(include_str!("golden/metrics.json")).unwrap()
}

fn ids(value: &Value) -> Vec<u32> {
    serde_json::from_value(value.clone()).unwrap()
}

fn close(what: &str, ours: f64, theirs: &Value) {
    let theirs = theirs.as_f64().unwrap();
    assert!((ours - theirs).abs() < 1e-12, "{what}: {ours} is not {theirs}");
}

fn borrowed(tags: &[Vec<String>]) -> Vec<Vec<&str>> {
    tags.iter().map(|tags| tags.iter().map(String::as_str).collect()).collect()
}

fn prf(what: &str, ours: Counts, theirs: &Value) {
    close(what, ours.precision(), &theirs[0]);
    close(what, ours.recall(), &theirs[1]);
    close(what, ours.f1(), &theirs[2]);
}

/// The mean F1 of the classes with a gold item, null where there is none.
fn macro_close(what: &str, counts: &[Counts], theirs: &Value) {
    let f1: Vec<Score> = counts.iter().map(|counts| counts.score(|| "no item".to_owned())).collect();
    match Mean::over(&f1).value.number() {
        Some(ours) => close(what, ours, theirs),
        None => assert!(theirs.is_null(), "{what}: undefined is not {theirs}"),
    }
}

#[test]
fn relation_scores_equal_scikit_learn() {
    let golden = golden();
    let cases = golden["relation"].as_array().unwrap();
    assert!(cases.len() >= 5);
    for case in cases {
        let name = case["name"].as_str().unwrap();
        let scores = relation::score(&ids(&case["gold"]), &ids(&case["predicted"]), &ids(&case["seen"]));
        close(name, scores.accuracy, &case["accuracy"]);
        macro_close(name, &scores.per_class, &case["macro_f1"]);
        prf(name, scores.micro, &case["micro"]);
        for (ours, theirs) in scores.per_class.iter().zip(case["f1_by_label"].as_array().unwrap()) {
            close(name, ours.f1(), theirs);
        }
    }
}

/// The benchmark of a masked case: `tasks` tasks of `classes` relations.
fn dataset(case: &Value) -> DatasetRecord {
    let of = |key: &str| case[key].as_u64().unwrap() as usize;
    let task = |task: usize| TaskRecord {
        name: task.to_string(),
        classes: (0..of("classes")).map(|class| format!("{task}/{class}")).collect(),
    };
    let tasks: Vec<TaskRecord> = (0..of("tasks")).map(task).collect();
    let relations = tasks.iter().flat_map(|task| task.classes.clone());
    let labels = std::iter::once("None".to_owned()).chain(relations).collect();
    DatasetRecord { name: "golden".into(), task: Extraction::Relations, fingerprint: String::new(), labels, tasks }
}

#[test]
fn masked_scores_equal_scikit_learn_on_what_numpy_chooses() {
    let golden = golden();
    let cases = golden["masked"].as_array().unwrap();
    assert!(cases.len() >= 3);
    for case in cases {
        let (dataset, name) = (dataset(case), case["name"].as_str().unwrap());
        let scores: Vec<Vec<f32>> = serde_json::from_value(case["scores"].clone()).unwrap();
        let row = |(index, scores): (usize, Vec<f32>)| PredictionRow {
            id: index.to_string(),
            owner: Some(ids(&case["owner"])[index] as usize),
            gold: vec![ids(&case["gold"])[index]],
            predicted: vec![ids(&case["strict"]["predicted"])[index]],
            scores,
            ..PredictionRow::default()
        };
        let rows: Vec<PredictionRow> = scores.into_iter().enumerate().map(row).collect();
        let last = dataset.tasks.len() - 2;
        let ours = stage::score(&dataset, last, &rows);
        use StageMetric::*;
        for (mask, [micro_f1, macro_f1, accuracy]) in [
            ("strict", [MicroF1, MacroF1, Accuracy]),
            ("class_masked", [ClassMaskedMicroF1, ClassMaskedMacroF1, ClassMaskedAccuracy]),
            ("task_masked", [TaskMaskedMicroF1, TaskMaskedMacroF1, TaskMaskedAccuracy]),
        ] {
            let score = |metric: StageMetric| ours.get(metric).number().unwrap();
            close(&format!("{name}, {mask}"), score(micro_f1), &case[mask]["micro"][2]);
            close(&format!("{name}, {mask}"), score(macro_f1), &case[mask]["macro_f1"]);
            close(&format!("{name}, {mask}"), score(accuracy), &case[mask]["accuracy"]);
        }
        let counted: Counts = stage::instances(&dataset, last, &rows).into_iter().sum();
        close(name, counted.f1(), &case["strict"]["micro"][2]);
    }
}

#[test]
fn span_scores_equal_seqeval() {
    let golden = golden();
    let cases = golden["entity"].as_array().unwrap();
    assert!(cases.len() >= 5);
    for case in cases {
        let name = case["name"].as_str().unwrap();
        let tags = |key: &str| -> Vec<Vec<String>> { serde_json::from_value(case[key].clone()).unwrap() };
        let (gold, predicted) = (tags("gold"), tags("predicted"));
        let by_type = case["by_type"].as_object().unwrap();
        let types: Vec<&str> = by_type.keys().map(String::as_str).collect();
        let scores = span::score(&borrowed(&gold), &borrowed(&predicted), &types);
        macro_close(name, &scores.per_type, &case["macro_f1"]);
        prf(name, scores.micro, &case["micro"]);
        for (ours, theirs) in scores.per_type.iter().zip(by_type.values()) {
            let theirs = |key: &str| theirs[key].clone();
            prf(name, *ours, &serde_json::json!([theirs("precision"), theirs("recall"), theirs("f1")]));
            close(name, ours.gold as f64, &theirs("support"));
        }
    }
}
