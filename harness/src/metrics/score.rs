//! From a run's stored predictions to `result.json`.

use std::collections::BTreeMap;

use mkgc_builder::corpus::TaskKind;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Labels;
use super::continual::{
    Entered, Matrix, Mean, Value, average_lopezpaz17, bwt_lopezpaz17, forgetting_chaudhry18, learning_accuracy_riemer19,
};
use super::formulas;
use super::half::{self, Half};
use super::stage::{self, StageScores};
use crate::error::Result;
use crate::files::read_json;
use crate::run::RunFolder;
use crate::run::predictions::{self, PredictionRow};
use crate::run::record::{DatasetRecord, RunRecord, SCHEMA_VERSION};

/// The contents of `result.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RunResult {
    /// Version of this file.
    #[schemars(extend("const" = SCHEMA_VERSION))]
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
    /// `R[i][j]`, `j <= i`; a row is empty where an external run has no predictions. Since version 4 a cell is undefined
    /// where the test has nothing of task `j`.
    pub matrix: Matrix,
    /// The same of each half of a network of two streams alone, where its predictions are stored; since version 4.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub halves: BTreeMap<String, Matrix>,
    /// Named formulas over stages and matrix: numbers, or `undefined: reason`.
    pub continual: BTreeMap<String, Value>,
    /// Of those that are means: how many tasks, stages or classes entered; since version 4.
    #[serde(default)]
    pub entered: BTreeMap<String, Entered>,
}

impl RunResult {
    /// Reads `result.json` of any released version. Older versions have fewer metrics, and numbers where version 4 says
    /// that the test has nothing to score; [`score_run`] derives everything from the predictions.
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
pub fn read_stages(folder: &RunFolder, record: &RunRecord) -> Result<Vec<Option<Vec<PredictionRow>>>> {
    let read = |stage: usize| {
        let path = folder.predictions(stage);
        if !path.exists() {
            if record.is_external() {
                return Ok(None);
            }
            let reason = format!("stage {stage} has no predictions; finish it with `mkgc train` on the same folder");
            return Err(folder.error(&reason));
        }
        predictions::read(&path).map(Some)
    };
    (0..record.tasks()).map(read).collect()
}

/// All metrics of the predictions of every stage.
pub fn score(record: &RunRecord, predictions: &[Option<Vec<PredictionRow>>]) -> RunResult {
    let dataset = &record.dataset;
    let stage = |(stage, rows): (usize, &Option<Vec<PredictionRow>>)| {
        rows.as_ref().map_or_else(|| StageScores::unscored(stage), |rows| stage::score(dataset, stage, rows))
    };
    let stages: Vec<StageScores> = predictions.iter().enumerate().map(stage).collect();
    let matrix = matrix(dataset, predictions, |row| &row.predicted);
    let halves = halves(dataset, predictions);
    let (continual, entered) = continual(&stages, &matrix, &halves);
    let matrix_metric = match dataset.task {
        TaskKind::Re => "micro-F1 without None over the test rows task j owns (its relations and its share of None)",
        TaskKind::Ner => "micro span F1 over the entity types of task j in the test file of stage i",
    };
    RunResult {
        schema_version: SCHEMA_VERSION,
        method: record.method.clone(),
        benchmark: dataset.name.clone(),
        fingerprint: dataset.fingerprint.clone(),
        train_seed: record.train_seed(),
        stages,
        matrix_metric: matrix_metric.to_owned(),
        matrix,
        halves,
        continual,
        entered,
    }
}

/// `R[i][j]` of the label ids that `of` gives.
fn matrix(dataset: &DatasetRecord, predictions: &[Option<Vec<PredictionRow>>], of: Labels) -> Matrix {
    let row = |(stage, rows): (usize, &Option<Vec<PredictionRow>>)| {
        let cells = |rows: &Vec<PredictionRow>| (0..=stage).map(|j| stage::task_of(dataset, j, rows, of)).collect();
        rows.as_ref().map_or_else(Vec::new, cells)
    };
    predictions.iter().enumerate().map(row).collect()
}

/// The same of each half whose predictions are stored.
fn halves(dataset: &DatasetRecord, predictions: &[Option<Vec<PredictionRow>>]) -> BTreeMap<String, Matrix> {
    let stored = |half: &Half| predictions.iter().flatten().any(|rows| half.stored(rows));
    let of = |half: Half| (half.prefix().to_owned(), matrix(dataset, predictions, half.labels()));
    Half::ALL.into_iter().filter(stored).map(of).collect()
}

/// Values of the named formulas, and how many terms the means among them are over.
fn continual(
    stages: &[StageScores],
    matrix: &Matrix,
    halves: &BTreeMap<String, Matrix>,
) -> (BTreeMap<String, Value>, BTreeMap<String, Entered>) {
    let mut means = BTreeMap::from([
        ("average_lopezpaz17".to_owned(), average_lopezpaz17(matrix)),
        ("learning_accuracy_riemer19".to_owned(), learning_accuracy_riemer19(matrix)),
        ("forgetting_chaudhry18".to_owned(), forgetting_chaudhry18(matrix)),
        ("bwt_lopezpaz17".to_owned(), bwt_lopezpaz17(matrix)),
    ]);
    means.extend(Half::ALL.into_iter().flat_map(|half| half::continual(half, halves.get(half.prefix()))));
    let mut values = BTreeMap::new();
    let mut entered = BTreeMap::new();
    for name in formulas::STAGE.iter().map(|formula| formula.name) {
        means.insert(formulas::average(name), average(stages, name));
        let last = stages.last().map_or_else(|| Value::undefined("no task was learned"), |stage| stage.get(name));
        values.insert(formulas::last(name), last);
        if let Some(classes) = stages.last().and_then(|stage| stage.entered(name)) {
            entered.insert(formulas::last(name), classes);
        }
    }
    for (name, Mean { value, entered: terms }) in means {
        values.insert(name.clone(), value);
        entered.insert(name, terms);
    }
    (values, entered)
}

/// The mean of a metric over the stages whose test has something to score.
fn average(stages: &[StageScores], name: &str) -> Mean {
    let tested: Vec<Value> =
        stages.iter().filter(|stage| !stage.without_items(name)).map(|stage| stage.get(name)).collect();
    let value = match (tested.is_empty(), stages.first()) {
        (true, Some(first)) => first.get(name),
        _ => Value::mean(tested.iter()),
    };
    let n = if value.number().is_some() { tested.len() } else { 0 };
    Mean { value, entered: Entered { n, of: stages.len() } }
}
