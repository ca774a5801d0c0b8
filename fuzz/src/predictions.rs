//! Predictions of other programs, checked against the small benchmarks.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, ListBuilder, RecordBatch, StringArray, StringBuilder};
use mkgc_harness::data::Benchmark;
use mkgc_harness::external::{PredictionFile, check_predictions};
use parquet::arrow::ArrowWriter;

use crate::{choose, chosen, file, place};

/// Checks a file of predictions: of relations (ways 0 and 2) or of entities, with the stages in the file or, from way 2 on,
/// given with it.
pub fn check(format: &str, data: &[u8]) {
    let Some((way, bytes)) = choose(data, 4) else { return };
    let benchmark = Benchmark::open(place::benchmark(way % 2 == 1), 128).unwrap();
    let path = file(&format!("predictions.{format}"), bytes);
    let given = PredictionFile { stage: (way > 1).then_some(1), path };
    if let Err(error) = check_predictions(&benchmark, &[given]) {
        assert!(error.to_string().contains("cannot be scored"), "{error}");
    }
}

/// Returns the ids of the test rows after the last task.
fn ids(entities: bool) -> Vec<String> {
    let benchmark = Benchmark::open(place::benchmark(entities), 128).unwrap();
    benchmark.test_rows(1).unwrap().into_iter().map(|row| row.id).collect()
}

/// Returns predictions that can be scored, in one of the three formats and each of the four ways.
pub fn seeds(format: &str) -> Vec<Vec<u8>> {
    (0..4).map(|way| chosen(way, one(format, way % 2 == 1, way > 1))).collect()
}

fn one(format: &str, entities: bool, stage_given: bool) -> Vec<u8> {
    let ids = ids(entities);
    if format == "parquet" {
        return parquet(&ids, entities, stage_given);
    }
    let row = |id: &String| match (format, entities) {
        ("jsonl", false) => {
            format!(r#"{{"stage": 1, "id": "{id}", "prediction": "a", "scores": [0.1, NaN, -Infinity]}}"#)
        }
        ("jsonl", true) => format!(r#"{{"stage": 1.0, "id": "{id}", "prediction": ["B-A", 0]}}"#),
        (_, false) => format!(r#"1,{id},a,"[0.1, nan, -inf]""#),
        (_, true) => format!(r#"1.0,"{id}","['B-A' 'O']","#),
    };
    let head = if format == "csv" { "stage,id,prediction,scores\n" } else { "" };
    let rows: Vec<String> = ids.iter().map(row).collect();
    format!("{head}{}\n", rows.join("\n")).into_bytes()
}

fn parquet(ids: &[String], entities: bool, stage_given: bool) -> Vec<u8> {
    let mut columns: Vec<(&str, ArrayRef)> = vec![("id", Arc::new(StringArray::from(ids.to_vec())))];
    if !stage_given {
        columns.push(("stage", Arc::new(Int64Array::from(vec![1; ids.len()]))));
    }
    if entities {
        let mut tags = ListBuilder::new(StringBuilder::new());
        ids.iter().for_each(|_| tags.append_value([Some("B-A"), Some("O")]));
        columns.push(("prediction", Arc::new(tags.finish())));
    } else {
        columns.push(("prediction", Arc::new(StringArray::from(vec!["a"; ids.len()]))));
    }
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    bytes
}
