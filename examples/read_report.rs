//! Computes the boards of run folders and prints the scores of each method, best first.
//!
//! ```sh
//! cargo run --example read_report -- RUN...  # by default, the runs of reports/
//! ```
#![allow(clippy::print_stdout, reason = "an example shows its results")]

use std::path::PathBuf;

use mkgc_harness::metrics::value::Value;
use mkgc_harness::metrics::{MatrixMetric, Metric};
use mkgc_harness::report;

const RUNS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../reports/minilm/runs");
const METRICS: [Metric; 2] = [Metric::RANKING, Metric::Matrix(MatrixMetric::Forgetting)];

fn percent(value: &Value) -> String {
    match value {
        Value::Number(share) => format!("{:.1}", 100.0 * share),
        Value::Undefined(reason) => reason.clone(),
    }
}

fn main() -> anyhow::Result<()> {
    let mut folders: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    if folders.is_empty() {
        folders.push(RUNS.into());
    }
    for board in report::boards(report::load(&folders)?)? {
        println!("{} ({} tasks)", board.benchmark, board.tasks.len());
        for entry in board.all() {
            println!("  {} ({} seeds)", entry.label, entry.seeds.len());
            for metric in METRICS {
                println!("    {}: {}", metric.title(board.task), percent(&entry.summary[&metric].mean));
            }
        }
    }
    Ok(())
}
