//! Scores a run: derives `result.json` from its stored predictions.

use std::collections::BTreeMap;

use mkgc_builder::corpus::Extraction;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use super::continual::Matrix;
use super::half::{self, Half};
use super::labels::LabelsOf;
use super::metric::{MatrixFormula, MatrixMetric, Metric, StageMetric, known};
use super::stage::{self, StageScores};
use super::value::{Entered, Mean, Value};
use crate::error::{Error, Result};
use crate::files::read_json;
use crate::run::predictions::{self, PredictionRow};
use crate::run::record::{DatasetRecord, RunRecord, SCHEMA_VERSION};
use crate::run::{REMEDY, RunFolder};

/// What `result.json` holds: the scores of a finished run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RunResult {
    /// Version of the format of `result.json`.
    #[schemars(extend("const" = SCHEMA_VERSION))]
    pub schema_version: u32,
    /// Method name; for an external run, the name given to `mkgc score` or `mkgc stream`.
    pub method: String,
    /// Name of the benchmark, which is that of its protocol, e.g. `mnre-10`.
    pub benchmark: String,
    /// Content fingerprint of the benchmark.
    pub fingerprint: String,
    /// Seed that the model was trained with.
    pub train_seed: u64,
    /// Scores after each task, in order.
    pub stages: Vec<StageScores>,
    /// Name of the metric that `matrix[i][j]` holds.
    pub matrix_metric: String,
    /// `R[i][j]`, `j <= i`; a row is empty where an external run has no predictions. Since version 4 a cell is undefined
    /// where the test has nothing of task `j`.
    pub matrix: Matrix,
    /// The same of each half of a network of two streams alone, where its predictions are stored; since version 4.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    #[schemars(with = "BTreeMap<String, Matrix>")]
    pub halves: BTreeMap<Half, Matrix>,
    /// Named formulas over stages and matrix: numbers, or `undefined: reason`.
    #[serde(deserialize_with = "known")]
    #[schemars(with = "BTreeMap<String, Value>")]
    pub continual: BTreeMap<Metric, Value>,
    /// Of those that are means: how many tasks, stages or classes entered; since version 4.
    #[serde(default, deserialize_with = "known")]
    #[schemars(with = "BTreeMap<String, Entered>")]
    pub entered: BTreeMap<Metric, Entered>,
}

impl RunResult {
    /// Reads `result.json` of any released version. Versions before 4 have fewer metrics, and numbers where version 4 says
    /// that the test has nothing to score. [`score_run`] derives every metric from the predictions instead.
    pub fn read(folder: &RunFolder) -> Result<Self> {
        let result: Self = read_json(&folder.result()).map_err(|error| Error::Usage(format!("{error}; {REMEDY}")))?;
        if !(1..=SCHEMA_VERSION).contains(&result.schema_version) {
            let version = result.schema_version;
            let reason = format!("result.json: schema version {version}, this mkgc reads 1 to {SCHEMA_VERSION}");
            return Err(folder.error(&reason));
        }
        Ok(result)
    }

    /// Returns the first number of this result, as `result.json` holds it, that the predictions do not give, as a sentence.
    /// `derived` is what they give. Of a result of an earlier version, only the scores are compared whose definition has
    /// never changed.
    pub fn contradiction(&self, derived: &Self) -> Option<String> {
        if self.schema_version == SCHEMA_VERSION {
            let [stored, derived] = [self, derived].map(|result| serde_json::to_value(result).ok());
            return contradiction("", &stored?, &derived?);
        }
        let scores = |result: &Self| {
            let of = |stage: &StageScores| json!({"accuracy": stage.accuracy, "micro_f1": stage.micro_f1});
            json!({"stages": result.stages.iter().map(of).collect::<Vec<_>>()})
        };
        contradiction("", &scores(self), &scores(derived))
    }
}

/// Returns the first place where two JSON values hold different numbers, or a number where the other has none. Texts may be
/// worded otherwise, and either may have keys of its own.
fn contradiction(path: &str, stored: &Json, derived: &Json) -> Option<String> {
    match (stored, derived) {
        (Json::Object(stored), Json::Object(derived)) => {
            let mut both = stored.iter().filter_map(|(key, stored)| Some((key, stored, derived.get(key)?)));
            let below = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
            both.find_map(|(key, stored, derived)| contradiction(&below(key), stored, derived))
        }
        (Json::Array(stored), Json::Array(derived)) if stored.len() == derived.len() => {
            let mut pairs = stored.iter().zip(derived).enumerate();
            pairs.find_map(|(n, (stored, derived))| contradiction(&format!("{path}[{n}]"), stored, derived))
        }
        (Json::Array(stored), Json::Array(derived)) => {
            let [stored, derived] = [stored, derived].map(Vec::len);
            Some(format!("`{path}` has {stored} entries in result.json, and the predictions give {derived}"))
        }
        (Json::String(_), Json::String(_)) => None,
        _ => {
            // Another version may sum in another order.
            let close = |one: f64, other: f64| (one - other).abs() <= 1e-9 * one.abs().max(1.0);
            let same = stored == derived
                || stored.as_f64().zip(derived.as_f64()).is_some_and(|(one, other)| close(one, other));
            (!same).then(|| format!("`{path}` is {stored} in result.json, and the predictions give {derived}"))
        }
    }
}

/// Derives all metrics of a finished run from its stored predictions.
///
/// # Errors
/// Predictions are missing or damaged.
pub fn score_run(folder: &RunFolder) -> Result<RunResult> {
    let record = folder.record()?;
    Ok(score(&record, &read_stages(folder, &record)?))
}

/// Reads the predictions after each task; only an external run may lack some.
pub fn read_stages(folder: &RunFolder, record: &RunRecord) -> Result<Vec<Option<Vec<PredictionRow>>>> {
    folder.check_predictions(record)?;
    let labels = record.dataset.label_set();
    let read = |stage: usize| {
        let path = folder.predictions(stage);
        if !path.exists() {
            return Ok(None);
        }
        let rows = predictions::read(&path)?;
        let known = labels.known_after(stage);
        let fault = rows.iter().find_map(|row| fault(&record.dataset, &known, row).map(|fault| (row, fault)));
        if let Some((row, fault)) = fault {
            return Err(Error::Usage(format!("{}: row `{}` {fault}; {REMEDY}", path.display(), row.id)));
        }
        Ok(Some(rows))
    };
    (0..record.tasks()).map(read).collect()
}

/// Returns what is wrong with a row of predictions, so that nothing is scored that does not belong to the benchmark. `known`
/// says of each label whether a task so far has introduced it.
fn fault(dataset: &DatasetRecord, known: &[bool], row: &PredictionRow) -> Option<String> {
    let words = row.gold.len();
    let relations = dataset.task == Extraction::Relations;
    if row.predicted.len() != words || (relations && words != 1) {
        return Some(format!("has {words} gold labels and {} predicted ones", row.predicted.len()));
    }
    if [&row.text, &row.vision].iter().any(|half| !half.is_empty() && half.len() != words) {
        return Some("has another number of labels of a half of the network".to_owned());
    }
    let mut labels = row.gold.iter().chain(&row.predicted).chain(&row.text).chain(&row.vision);
    if let Some(id) = labels.find(|id| known.get(**id as usize) != Some(&true)) {
        return Some(match dataset.labels.get(*id as usize) {
            Some(name) => format!("has the label `{name}`, which a later task introduces"),
            None => format!("has label {id}, and the benchmark has {} labels", dataset.labels.len()),
        });
    }
    let tasks = dataset.tasks.len();
    row.owner.filter(|owner| *owner >= tasks).map(|owner| format!("is of task {}, and there are {tasks}", owner + 1))
}

/// Computes all metrics, given the predictions after each task.
pub fn score(record: &RunRecord, predictions: &[Option<Vec<PredictionRow>>]) -> RunResult {
    let dataset = &record.dataset;
    let stage = |(stage, rows): (usize, &Option<Vec<PredictionRow>>)| {
        rows.as_ref().map_or_else(|| StageScores::unscored(stage), |rows| stage::score(dataset, stage, rows))
    };
    let stages: Vec<StageScores> = predictions.iter().enumerate().map(stage).collect();
    let matrix = matrix(dataset, predictions, |row| &row.predicted);
    let halves = halves(dataset, predictions);
    let summary = Summary::new(&stages, &matrix, &halves);
    let matrix_metric = match dataset.task {
        Extraction::Relations => {
            "micro-F1 without None over the test rows task j owns (its relations and its share of None)"
        }
        Extraction::Entities => "micro span F1 over the entity types of task j in the test file of stage i",
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
        continual: summary.values,
        entered: summary.entered,
    }
}

/// Computes `R[i][j]` of the label ids that `labels` chooses.
fn matrix(dataset: &DatasetRecord, predictions: &[Option<Vec<PredictionRow>>], labels: LabelsOf) -> Matrix {
    let row = |(stage, rows): (usize, &Option<Vec<PredictionRow>>)| {
        let cells =
            |rows: &Vec<PredictionRow>| (0..=stage).map(|j| stage::task_score(dataset, j, rows, labels)).collect();
        rows.as_ref().map_or_else(Vec::new, cells)
    };
    predictions.iter().enumerate().map(row).collect()
}

/// Computes `R[i][j]` of each half whose predictions are stored.
fn halves(dataset: &DatasetRecord, predictions: &[Option<Vec<PredictionRow>>]) -> BTreeMap<Half, Matrix> {
    let stored = |half: &Half| predictions.iter().flatten().any(|rows| half.stored(rows));
    let of_half = |half: Half| (half, matrix(dataset, predictions, half.labels()));
    Half::ALL.into_iter().filter(stored).map(of_half).collect()
}

/// The metrics of a whole run.
#[derive(Default)]
struct Summary {
    values: BTreeMap<Metric, Value>,
    /// For those that are means, how many terms they are over.
    entered: BTreeMap<Metric, Entered>,
}

impl Summary {
    /// Computes every metric that needs no other run.
    fn new(stages: &[StageScores], matrix: &Matrix, halves: &BTreeMap<Half, Matrix>) -> Self {
        let mut summary = Self::default();
        for metric in StageMetric::ALL.iter().copied() {
            let last = stages.last().map_or_else(|| Value::undefined("no task was learned"), |stage| stage.get(metric));
            summary.values.insert(Metric::Last(metric), last);
            if let Some(classes) = stages.last().and_then(|stage| stage.entered(metric)) {
                summary.entered.insert(Metric::Last(metric), classes);
            }
            summary.insert(Metric::AverageIncremental(metric), average(stages, metric));
        }
        for metric in MatrixMetric::ALL.iter().copied() {
            let MatrixFormula::Alone(formula) = metric.compute() else { continue };
            let matrix = metric.half().map_or(Some(matrix), |half| halves.get(&half));
            let mean = matrix.map_or_else(|| Mean::undefined(half::missing(), 0), formula);
            summary.insert(Metric::Matrix(metric), mean);
        }
        summary
    }

    fn insert(&mut self, metric: Metric, mean: Mean) {
        self.values.insert(metric, mean.value);
        self.entered.insert(metric, mean.entered);
    }
}

/// Averages a metric over the stages whose test has something to score.
fn average(stages: &[StageScores], metric: StageMetric) -> Mean {
    let tested: Vec<Value> =
        stages.iter().filter(|stage| !stage.without_items(metric)).map(|stage| stage.get(metric)).collect();
    let value = match (tested.is_empty(), stages.first()) {
        (true, Some(first)) => first.get(metric),
        _ => Value::mean(tested.iter()),
    };
    let n = if value.number().is_some() { tested.len() } else { 0 };
    Mean { value, entered: Entered { n, of: stages.len() } }
}
