//! From a run's stored predictions to `result.json`.

use std::collections::BTreeMap;

use mkgc_builder::corpus::TaskKind;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::continual::{
    Matrix, Value, average_lopezpaz17, bwt_lopezpaz17, forgetting_chaudhry18, learning_accuracy_riemer19,
};
use super::formulas;
use super::stage::{self, StageScores};
use crate::error::Result;
use crate::run::predictions::{self, Predicted};
use crate::run::record::{RunRecord, SCHEMA_VERSION};
use crate::run::{RunFolder, read_json};

/// The contents of `result.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RunResult {
    /// Version of this file.
    pub schema_version: u32,
    /// Method.
    pub method: String,
    /// Protocol.
    pub benchmark: String,
    /// Content fingerprint of the benchmark.
    pub fingerprint: String,
    /// Seed of the run.
    pub train_seed: u64,
    /// Per stage.
    pub stages: Vec<StageScores>,
    /// What `matrix[i][j]` is.
    pub matrix_metric: String,
    /// `R[i][j]`, `j <= i`; a row is empty where an external run has no predictions.
    pub matrix: Matrix,
    /// Named formulas over stages and matrix: numbers, or `undefined: reason`.
    pub continual: BTreeMap<String, Value>,
}

impl RunResult {
    /// Reads `result.json` of any released version. Versions 1 and 2 have fewer metrics; [`score_run`] derives the
    /// others from the predictions.
    pub fn read(folder: &RunFolder) -> Result<Self> {
        let result: Self = read_json(&folder.result())?;
        if !(1..=SCHEMA_VERSION).contains(&result.schema_version) {
            let version = result.schema_version;
            let reason = format!("result.json: schema version {version}, this mkgc reads 1 to {SCHEMA_VERSION}");
            return Err(folder.error(&reason));
        }
        Ok(result)
    }
}

/// Derives all metrics of a finished run from its stored predictions.
pub fn score_run(folder: &RunFolder) -> Result<RunResult> {
    let record = folder.record()?;
    Ok(score(&record, &read_stages(folder, &record)?))
}

/// The predictions of every stage; an external run may lack some.
pub fn read_stages(folder: &RunFolder, record: &RunRecord) -> Result<Vec<Vec<Predicted>>> {
    let read = |stage: usize| {
        let path = folder.predictions(stage);
        if !path.exists() {
            if record.external.is_some() {
                return Ok(Vec::new());
            }
            let reason = format!("stage {stage} has no predictions; finish it with `mkgc train` on the same folder");
            return Err(folder.error(&reason));
        }
        predictions::read(&path)
    };
    (0..record.tasks()).map(read).collect()
}

/// All metrics of the predictions of every stage.
pub fn score(record: &RunRecord, predictions: &[Vec<Predicted>]) -> RunResult {
    let dataset = &record.dataset;
    let by_stage = || predictions.iter().enumerate();
    let stages: Vec<StageScores> = by_stage().map(|(stage, rows)| stage::score(dataset, stage, rows)).collect();
    let tasks = |(stage, rows): (usize, &Vec<Predicted>)| {
        let tasks = if rows.is_empty() { 0 } else { stage + 1 };
        (0..tasks).map(|j| stage::task(dataset, j, rows)).collect()
    };
    let matrix: Matrix = by_stage().map(tasks).collect();
    let matrix_metric = match dataset.task {
        TaskKind::Re => "micro-F1 without None over the test rows task j owns (its relations and its share of None)",
        TaskKind::Ner => "micro span F1 over the entity types of task j in the test file of stage i",
    };
    RunResult {
        schema_version: SCHEMA_VERSION,
        method: record.method.clone(),
        benchmark: dataset.name.clone(),
        fingerprint: dataset.fingerprint.clone(),
        train_seed: record.config.train_seed,
        continual: continual(&stages, &matrix),
        stages,
        matrix_metric: matrix_metric.to_owned(),
        matrix,
    }
}

fn continual(stages: &[StageScores], matrix: &Matrix) -> BTreeMap<String, Value> {
    let mut values = BTreeMap::from([
        ("average_lopezpaz17".to_owned(), average_lopezpaz17(matrix)),
        ("learning_accuracy_riemer19".to_owned(), learning_accuracy_riemer19(matrix)),
        ("forgetting_chaudhry18".to_owned(), forgetting_chaudhry18(matrix)),
        ("bwt_lopezpaz17".to_owned(), bwt_lopezpaz17(matrix)),
    ]);
    for formula in formulas::STAGE {
        let over: Vec<Value> = stages.iter().map(|stage| stage.get(formula.name)).collect();
        let last = over.last().cloned().unwrap_or_else(|| Value::undefined("no task was learned"));
        values.insert(formulas::last(formula.name), last);
        values.insert(formulas::average(formula.name), Value::mean(over.iter()));
    }
    values
}
