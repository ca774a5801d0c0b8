//! Tests of records: every version is read, and what keeps two runs apart.

#![allow(clippy::unwrap_used)]
use mkgc_models::inputs::Visual;

use super::*;
use crate::config::{HeadInput, Schedule, VisualSetting};
use crate::run::external::{Budget, PhaseRecord, Refusal};

fn version_1() -> Value {
    serde_json::from_str(include_str!("../../../tests/fixtures/run-version-1.json")).unwrap()
}

/// The record with a change of what the model was trained with.
fn changed(record: &RunRecord, change: impl Fn(&mut Trained)) -> RunRecord {
    let mut trained = record.trained().unwrap().clone();
    change(&mut trained);
    RunRecord { model: Model::Trained(Box::new(trained)), ..record.clone() }
}

#[test]
fn settings_are_read_with_every_digit() {
    let record = RunRecord::from_json(version_1()).unwrap();
    // Parsers that round leave out the last digit of every tenth of such numbers.
    for number in 1..200 {
        let rate = 1.0 / f64::from(number) * 1e-7;
        let written = serde_json::to_string(&changed(&record, |trained| trained.config.lr_encoder = rate)).unwrap();
        let read = RunRecord::from_json(serde_json::from_str(&written).unwrap()).unwrap();
        assert_eq!(read.trained().unwrap().config.lr_encoder.to_bits(), rate.to_bits(), "{rate}");
    }
}

#[test]
fn records_of_version_1_are_read_and_those_of_later_versions_refused() {
    let record = RunRecord::from_json(version_1()).unwrap();
    let trained = record.trained().unwrap();
    assert_eq!((record.schema_version, record.label().as_str()), (SCHEMA_VERSION, "emr"));
    assert_eq!((trained.encoder.name.as_str(), trained.encoder.identity.len()), ("minilm", 64));
    assert_eq!((trained.config.epochs, trained.config.optimiser_per_task), (1, true));
    assert_eq!(record.memory_budget, "10 rows per class");
    assert!(record.cost.is_none() && record.vision().is_none());
    assert_eq!((trained.config.head, trained.config.schedule), (HeadInput::Markers, Schedule::Constant));
    let mut later = version_1();
    later["schema_version"] = 99.into();
    assert!(RunRecord::from_json(later).unwrap_err().contains("schema version 99"));
    let mut damaged = version_1();
    damaged["method"] = Value::Null;
    assert!(RunRecord::from_json(damaged).is_err());
    let mut without_tasks = version_1();
    without_tasks["dataset"]["tasks"] = serde_json::json!([]);
    assert!(RunRecord::from_json(without_tasks).unwrap_err().starts_with("`dataset.tasks` is empty"));
}

#[test]
fn a_run_does_not_go_on_in_another_number_type() {
    let record = RunRecord::from_json(version_1()).unwrap();
    let other = changed(&record, |trained| trained.dtype = "bf16".to_owned());
    assert_eq!(record.difference(&record), None);
    assert_eq!(record.difference(&other), Some("number type (--dtype)"));
}

#[test]
fn a_label_says_variant_and_stand_ins() {
    let mut record = RunRecord::from_json(version_1()).unwrap();
    record.variant = Some("still".to_owned());
    let vision = VisionRecord {
        encoder: EncoderRecord::built_in("tiny"),
        layout: Visual::Image,
        real_images: 5,
        stand_in_images: 1,
        stand_in_rows: Some(2),
    };
    let shown = changed(&record, |trained| trained.vision = Some(vision.clone()));
    assert_eq!(shown.label(), "emr [still] (stand-in images)");
    let shuffled = changed(&shown, |trained| trained.config.visual = VisualSetting::Shuffled);
    assert_eq!(shuffled.label(), "emr [still] (shuffled images) (stand-in images)");
    let blind = changed(&shuffled, |trained| trained.vision = None);
    assert_eq!(blind.label(), "emr [still]", "a text method has no pictures to shuffle");
}

#[test]
fn an_external_run_is_written_without_what_is_not_known() {
    let source = ExternalRecord { description: None, url: None, predictions: vec![], stream: None };
    let record = RunRecord::from_json(version_1()).unwrap();
    let external = RunRecord { model: Model::External { source, train_seed: 7 }, ..record };
    let written = serde_json::to_value(&external).unwrap();
    assert_eq!(written["config"], serde_json::json!({"train_seed": 7}));
    for key in ["encoder", "device", "dtype", "threads", "origins"] {
        assert!(written.get(key).is_none(), "{key}");
    }
    assert_eq!(RunRecord::from_json(written).unwrap(), external);
}

#[test]
fn a_stream_is_marked_and_keeps_what_it_dealt_out() {
    let stream = StreamRecord {
        protocol: 1,
        command: Some("./mine".to_owned()),
        memory: Budget::PerClass(10),
        phases: vec![PhaseRecord { learn_seconds: 1.5, predict_seconds: 0.5 }],
        refused: [(Refusal::Budget, 2)].into(),
        started_after: vec![0, 1],
        stored_rows: 1,
        stored_by_class: [("a".to_owned(), 1)].into(),
    };
    let source = ExternalRecord { description: None, url: None, predictions: vec![], stream: Some(Box::new(stream)) };
    let record = RunRecord::from_json(version_1()).unwrap();
    let model = Model::External { source, train_seed: 7 };
    let streamed = RunRecord { model, stop_after: Some(1), ..record };
    let written = serde_json::to_value(&streamed).unwrap();
    assert_eq!(written["external"]["stream"]["memory"], serde_json::json!({"per_class": 10}));
    assert_eq!(written["external"]["stream"]["refused"], serde_json::json!({"budget": 2}));
    assert_eq!(RunRecord::from_json(written).unwrap(), streamed);
    assert!(streamed.label().ends_with(" tasks) (external, stream)"), "{}", streamed.label());
}
