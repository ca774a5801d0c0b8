//! Predictions that arrive in a message, as lists in the order of the test rows: checked like those of a file.

use mkgc_builder::dataset::Row;
use serde_json::Value;

use super::check::check_stage;
use super::file::PredictionFile;
use super::problems::{Problems, RowPlace};
use super::read::{Cells, Collector, jsonl};
use crate::data::Benchmark;
use crate::error::{Error, Result};
use crate::run::predictions::PredictionRow;

/// Predictions in the order of the test rows.
#[derive(Debug, Clone, Copy)]
pub struct SubmittedAnswer<'a> {
    /// For each row a label, or a list with the tag of each word; by name or by id.
    pub predictions: &'a [Value],
    /// For each row a list with a number per label, or nothing.
    pub scores: Option<&'a [Value]>,
}

/// Checks the predictions after task `stage` of `rows`, its test rows in the order and under the ids that the method knows.
/// Returns them in that order, with what is strange about them.
///
/// # Errors
/// There are not as many predictions as rows, or some cannot be scored; the message has all problems.
pub fn check_answer(
    benchmark: &Benchmark,
    stage: usize,
    rows: &[Row],
    answer: SubmittedAnswer<'_>,
) -> Result<(Vec<PredictionRow>, Vec<String>)> {
    let lists = [("predictions", Some(answer.predictions)), ("scores", answer.scores)];
    for (what, given) in lists.into_iter().filter_map(|(what, list)| Some((what, list?.len()))) {
        if given != rows.len() {
            let order = "give one per test row, in the order in which they were handed out";
            return Err(Error::Usage(format!("{given} {what} for {} test rows; {order}", rows.len())));
        }
    }
    let file = PredictionFile { stage: Some(stage), path: "answer".into() };
    let labels = benchmark.manifest().label_set();
    let mut problems = Problems::default();
    let mut collector = Collector::new(&file, &labels, &mut problems);
    let score = |index: usize| answer.scores.map_or(&Value::Null, |scores| &scores[index]);
    for (index, (row, prediction)) in rows.iter().zip(answer.predictions).enumerate() {
        let cells = Cells {
            stage: jsonl::cell(&stage.into()),
            id: jsonl::cell(&row.id.as_str().into()),
            prediction: jsonl::cell(prediction),
            scores: jsonl::cell(score(index)),
        };
        collector.add(RowPlace::Item(index + 1), &cells);
    }
    let given = collector.finish();
    check_stage(benchmark, stage, rows, &given, problems)
}
