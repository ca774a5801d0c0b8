//! Computes a metric of one's own from the predictions that a run stored, without a change to the crates.
//!
//! The metric is the share of missed labels: of the gold labels that are not `None` or `O`, how many are predicted so.
//!
//! ```sh
//! cargo run --example own_metric -- RUN      # by default, a run of reports/
//! ```
#![allow(clippy::print_stdout, reason = "an example shows its results")]

use std::path::PathBuf;

use mkgc_harness::metrics::value::Value;
use mkgc_harness::run::RunFolder;
use mkgc_harness::run::predictions::{self, PredictionRow};

const RUN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../reports/minilm/runs/mnre-10/emr-seed42");

/// Label ids count from `None` or `O`, which is 0. Relation rows have one label, sentences have one per word.
fn missed(rows: &[PredictionRow]) -> Value {
    let labels = rows.iter().flat_map(|row| row.gold.iter().zip(&row.predicted));
    let predicted: Vec<u32> = labels.filter(|(gold, _)| **gold != 0).map(|(_, predicted)| *predicted).collect();
    if predicted.is_empty() {
        return Value::undefined("no label other than None or O in the test file");
    }
    let missed = predicted.iter().filter(|label| **label == 0).count();
    Value::Number(missed as f64 / predicted.len() as f64)
}

fn main() -> anyhow::Result<()> {
    let path = std::env::args_os().nth(1).map_or_else(|| PathBuf::from(RUN), PathBuf::from);
    let folder = RunFolder::new(&path);
    let record = folder.record()?;
    println!("{} on {}: share of missed labels", record.label(), record.dataset.name);
    for task in 0..record.tasks() {
        let rows = predictions::read(&folder.predictions(task))?;
        match missed(&rows) {
            Value::Number(share) => println!("after task {}: {:.1} %", task + 1, 100.0 * share),
            Value::Undefined(reason) => println!("after task {}: {reason}", task + 1),
        }
    }
    Ok(())
}
