//! Files of runs: every released version is read, the schemas published in docs/schema are those of the code.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use mkgc_harness::metrics::score::{RunResult, read_stages, score_run};
use mkgc_harness::metrics::value::Value;
use mkgc_harness::metrics::{Counts, MatrixMetric, Metric, StageMetric, stage};
use mkgc_harness::run::RunFolder;
use mkgc_harness::run::external::ExternalRecord;
use mkgc_harness::run::predictions::{self, PredictionRow};
use mkgc_harness::run::record::{Model, RunRecord};
use mkgc_harness::schema;
use serde_json::{Value as Json, json};

fn path(below: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(below)
}

/// A folder with the records of a released version.
fn released(version: u32) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for file in ["run", "result"] {
        let fixture = path(&format!("tests/fixtures/{file}-version-{version}.json"));
        fs_err::copy(fixture, folder.path().join(format!("{file}.json"))).unwrap();
    }
    folder
}

#[test]
fn records_and_results_of_every_version_are_read() {
    for (version, method, stages) in [(1, "emr", 10), (2, "lmc", 4), (3, "ewc", 4), (4, "ewc", 4)] {
        let place = released(version);
        let folder = RunFolder::new(place.path());
        let (record, result) = (folder.record().unwrap(), RunResult::read(&folder).unwrap());
        assert_eq!((record.method.as_str(), result.method.as_str()), (method, method));
        assert_eq!((result.schema_version, result.stages.len()), (version, stages));
        assert_eq!(result.fingerprint, record.dataset.fingerprint);
        assert!(result.continual["forgetting_chaudhry18"].number().is_some());
        let known = result.stages[0].get(StageMetric::TaskMaskedMicroF1);
        assert!(known.reason().unwrap().starts_with("undefined: "), "entities and old results have none: {known:?}");
        let later = fs_err::read_to_string(folder.result()).unwrap();
        let later = later.replace(&format!("\"schema_version\": {version}"), "\"schema_version\": 99");
        fs_err::write(folder.result(), later).unwrap();
        assert!(RunResult::read(&folder).unwrap_err().to_string().contains("schema version 99"));
    }
}

/// The fixture of the newest version is what this version writes.
#[test]
fn an_old_run_scores_to_the_fixture_of_the_newest_version() {
    let folder = RunFolder::new(&path("tests/fixtures/runs/twitter2017-plom-ewc"));
    let fixture = fs_err::read_to_string(path("tests/fixtures/result-version-4.json")).unwrap();
    let said = serde_json::to_string_pretty(&score_run(&folder).unwrap()).unwrap();
    assert!(said == fixture.trim_end(), "now it is\n{said}");
}

fn close(what: &str, old: f64, new: f64) {
    assert!((old - new).abs() < 1e-12, "{what}: {old} became {new}");
}

#[test]
fn metrics_of_old_results_are_what_predictions_still_say() {
    for run in ["mnre-10-emr", "twitter2017-plom-lmc"] {
        let folder = RunFolder::new(&path(&format!("tests/fixtures/runs/{run}")));
        let (old, new) = (RunResult::read(&folder).unwrap(), score_run(&folder).unwrap());
        for (old, new) in old.matrix.iter().flatten().zip(new.matrix.iter().flatten()) {
            close(run, old.number().unwrap(), new.number().unwrap());
        }
        for (name, value) in &old.continual {
            close(name.key(), value.number().unwrap(), new.continual[name].number().unwrap());
        }
        for (old, new) in old.stages.iter().zip(&new.stages) {
            close(run, old.micro_f1.number().unwrap(), new.micro_f1.number().unwrap());
            close(run, old.macro_f1.number().unwrap(), new.macro_f1.number().unwrap());
            close(run, old.accuracy.number().unwrap_or(0.0), new.accuracy.number().unwrap_or(0.0));
            let number = |value: &Value| value.number().unwrap();
            old.f1_by_class.iter().for_each(|(class, f1)| close(class, number(f1), number(&new.f1_by_class[class])));
        }
    }
}

/// What resampling adds up is the metric.
#[test]
fn counts_of_instances_sum_to_micro_f1() {
    for run in ["mnre-10/emr", "mnre-10/lmc", "twitter2017-plom/rp-cre", "twitter2017-plom/joint"] {
        let folder = RunFolder::new(&path(&format!("../reports/minilm/runs/{run}-seed42")));
        let (record, result) = (folder.record().unwrap(), score_run(&folder).unwrap());
        for (index, rows) in read_stages(&folder, &record).unwrap().iter().flatten().enumerate() {
            let counts: Counts = stage::instances(&record.dataset, index, rows).into_iter().sum();
            assert_eq!(Value::Number(counts.f1()), result.stages[index].micro_f1, "{run}");
        }
    }
}

/// Methods of mkgc choose among the classes seen, so the class mask changes nothing; knowing the task helps.
#[test]
fn masked_twins_of_real_runs_are_in_order() {
    for entry in fs_err::read_dir(path("../reports/minilm/runs/mnre-10")).unwrap() {
        let folder = RunFolder::new(&entry.unwrap().path());
        if matches!(folder.record().unwrap().model, Model::External { .. }) {
            continue;
        }
        for stage in score_run(&folder).unwrap().stages {
            use StageMetric::*;
            let score = |metric: StageMetric| stage.get(metric).number().unwrap();
            let place = folder.dir().display();
            let classes = [ClassMaskedMicroF1, ClassMaskedMacroF1, ClassMaskedAccuracy].map(score);
            assert_eq!([MicroF1, MacroF1, Accuracy].map(score), classes, "{place}");
            assert!(score(TaskMaskedMicroF1) >= score(MicroF1), "{place}");
            assert!(score(TaskMaskedAccuracy) >= score(Accuracy), "{place}");
            let confusion = stage.confusion.as_ref().unwrap();
            let counted: usize = [&confusion.old[..], &confusion.new, &confusion.none].into_iter().flatten().sum();
            assert_eq!(counted, stage.rows, "every row has its place");
        }
    }
}

#[test]
fn every_metric_of_a_result_has_a_formula() {
    let folder = RunFolder::new(&path("../reports/minilm/runs/mnre-10/emr-seed42"));
    let result = score_run(&folder).unwrap();
    let whole_run = |metric: &Metric| match metric {
        Metric::Stage(_) => false,
        Metric::Matrix(metric) => *metric != MatrixMetric::Intransigence,
        Metric::Last(_) | Metric::AverageIncremental(_) => true,
    };
    let mut named: Vec<Metric> = Metric::all().filter(whole_run).collect();
    named.sort();
    assert_eq!(result.continual.keys().copied().collect::<Vec<_>>(), named);
}

#[test]
fn published_schemas_are_up_to_date() {
    for (name, schema) in schema::all() {
        let published = fs_err::read_to_string(path("../docs/schema").join(name)).unwrap();
        let published: serde_json::Value = serde_json::from_str(&published).unwrap();
        assert!(published == schema.to_value(), "docs/schema/{name} is old; `mkgc schema --out docs/schema` makes it");
    }
}

/// An external run lacks what is not known of it, and the schema asks for the rest alone.
#[test]
fn the_schema_of_a_run_asks_for_what_both_kinds_have() {
    let place = released(4);
    let trained = RunFolder::new(place.path()).record().unwrap();
    let source = ExternalRecord { description: None, url: None, predictions: vec![], stream: None };
    let external = RunRecord { model: Model::External { source, train_seed: 7 }, ..trained.clone() };
    let (_, schema) = schema::all().into_iter().find(|(name, _)| name.starts_with("run")).unwrap();
    let schema = schema.to_value();
    let listed = |keys: &Json| serde_json::from_value::<Vec<String>>(keys.clone()).unwrap();
    let required = listed(&schema["required"]);
    let of_trained = listed(&schema["else"]["required"]);
    assert_eq!(schema["if"]["required"], json!(["external"]));
    for (record, is_external) in [(trained, false), (external, true)] {
        let written = serde_json::to_value(&record).unwrap();
        let missing = |keys: &[String]| keys.iter().filter(|key| written.get(key).is_none()).count();
        assert_eq!(missing(&required), 0);
        assert_eq!(missing(&of_trained), if is_external { of_trained.len() } else { 0 });
        assert_eq!(written.get("external").is_some(), is_external);
        let unknown = written.as_object().unwrap().keys().find(|key| schema["properties"].get(key).is_none());
        assert_eq!(unknown, None);
    }
    assert_eq!(schema["properties"]["config"].get("$ref"), None);
    assert_eq!(schema["else"]["properties"]["config"]["$ref"], "#/$defs/Config");
    assert_eq!(schema["then"]["properties"]["config"]["required"], json!(["train_seed"]));
}

#[test]
fn the_schema_of_predictions_names_the_columns_of_the_file() {
    let path = tempfile::tempdir().unwrap().keep().join("predictions.parquet");
    let columns = |row: &PredictionRow| -> Vec<String> {
        predictions::write(&path, std::slice::from_ref(row)).unwrap();
        let file = fs_err::File::open(&path).unwrap().into_parts().0;
        let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
        reader.schema().fields().iter().map(|field| field.name().clone()).collect()
    };
    let one = PredictionRow { id: "a".into(), gold: vec![1], predicted: vec![1], ..PredictionRow::default() };
    let two = PredictionRow { text: vec![1], vision: vec![0], ..one.clone() };
    let (_, schema) = schema::all().into_iter().find(|(name, _)| name.starts_with("predictions")).unwrap();
    let schema = schema.to_value();
    let properties = schema["properties"].as_object().unwrap();
    assert!(properties.keys().eq(&columns(&two)), "{properties:?}");
    // Networks of one stream write what the schema asks for and no more.
    let required: Vec<String> = serde_json::from_value(schema["required"].clone()).unwrap();
    assert_eq!(required, columns(&one));
    fs_err::remove_dir_all(path.parent().unwrap()).unwrap();
}
