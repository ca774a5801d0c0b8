//! Metrics against scikit-learn and seqeval. `tools/golden/metrics.py` made the numbers.
#![allow(clippy::unwrap_used)]

use mkgc_harness::metrics::{Counts, relation, span};
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

#[test]
fn relation_scores_equal_scikit_learn() {
    let golden = golden();
    let cases = golden["relation"].as_array().unwrap();
    assert!(cases.len() >= 5);
    for case in cases {
        let name = case["name"].as_str().unwrap();
        let scores = relation::score(&ids(&case["gold"]), &ids(&case["predicted"]), &ids(&case["seen"]));
        close(name, scores.accuracy, &case["accuracy"]);
        close(name, scores.macro_f1, &case["macro_f1"]);
        prf(name, scores.micro, &case["micro"]);
        for (ours, theirs) in scores.per_class.iter().zip(case["f1_by_label"].as_array().unwrap()) {
            close(name, ours.f1(), theirs);
        }
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
        close(name, scores.macro_f1, &case["macro_f1"]);
        prf(name, scores.micro, &case["micro"]);
        for (ours, theirs) in scores.per_type.iter().zip(by_type.values()) {
            let theirs = |key: &str| theirs[key].clone();
            prf(name, *ours, &serde_json::json!([theirs("precision"), theirs("recall"), theirs("f1")]));
            close(name, ours.gold as f64, &theirs("support"));
        }
    }
}
