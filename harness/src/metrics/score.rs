//! From a run's stored predictions to `result.json`.

use std::collections::BTreeMap;

use mkgc_builder::corpus::TaskKind;
use serde::{Deserialize, Serialize};

use super::continual::{Matrix, Value, average_lopezpaz17, bwt_lopezpaz17, forgetting_chaudhry18};
use super::{Counts, relation, span};
use crate::error::Result;
use crate::run::RunFolder;
use crate::run::predictions::{self, Predicted};
use crate::run::record::{DatasetRecord, RunRecord, SCHEMA_VERSION};

/// Scores on the test file of one stage, over the classes seen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StageScores {
    /// 1-based number of tasks learned.
    pub tasks_learned: usize,
    /// Test rows.
    pub rows: usize,
    /// RE only: share of rows whose label is right, `None` included (strict: argmax over seen classes).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub accuracy: Option<f64>,
    /// F1 over all relations or entity types seen (RE without `None`).
    pub micro_f1: f64,
    /// Unweighted mean of the F1 of each relation or type seen.
    pub macro_f1: f64,
    /// F1 of each relation or type seen.
    pub f1_by_class: BTreeMap<String, f64>,
    /// Gold items of each.
    pub support_by_class: BTreeMap<String, usize>,
}

/// The contents of `result.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
    /// `R[i][j]`, `j <= i`.
    pub matrix: Matrix,
    /// Named formulas over stages and matrix.
    pub continual: BTreeMap<String, Value>,
}

/// Derives all metrics of a finished run from its stored predictions.
pub fn score_run(folder: &RunFolder) -> Result<RunResult> {
    let record = folder.record()?;
    let mut stages = Vec::new();
    let mut matrix = Matrix::new();
    for stage in 0..record.dataset.tasks.len() {
        let path = folder.predictions(stage);
        if !path.exists() {
            let reason = format!("stage {stage} has no predictions; finish it with `mkgc train` on the same folder");
            return Err(folder.error(&reason));
        }
        let rows = predictions::read(&path)?;
        stages.push(stage_scores(&record.dataset, stage, &rows));
        matrix.push((0..=stage).map(|task| task_score(&record.dataset, task, &rows)).collect());
    }
    Ok(result(&record, stages, matrix))
}

fn result(record: &RunRecord, stages: Vec<StageScores>, matrix: Matrix) -> RunResult {
    let mean = stages.iter().map(|stage| stage.micro_f1).sum::<f64>() / stages.len().max(1) as f64;
    let continual = BTreeMap::from([
        ("average_incremental_micro_f1".to_owned(), Value::Number(mean)),
        ("average_lopezpaz17".to_owned(), average_lopezpaz17(&matrix)),
        ("forgetting_chaudhry18".to_owned(), forgetting_chaudhry18(&matrix)),
        ("bwt_lopezpaz17".to_owned(), bwt_lopezpaz17(&matrix)),
    ]);
    let matrix_metric = match record.dataset.task {
        TaskKind::Re => "micro-F1 without None over the test rows task j owns (its relations and its share of None)",
        TaskKind::Ner => "micro span F1 over the entity types of task j in the test file of stage i",
    };
    RunResult {
        schema_version: SCHEMA_VERSION,
        method: record.method.clone(),
        benchmark: record.dataset.name.clone(),
        fingerprint: record.dataset.fingerprint.clone(),
        train_seed: record.config.train_seed,
        stages,
        matrix_metric: matrix_metric.to_owned(),
        matrix,
        continual,
    }
}

fn stage_scores(dataset: &DatasetRecord, stage: usize, rows: &[Predicted]) -> StageScores {
    let classes: Vec<&str> =
        dataset.tasks[..=stage].iter().flat_map(|task| &task.classes).map(String::as_str).collect();
    let all: Vec<&Predicted> = rows.iter().collect();
    let (accuracy, micro, macro_f1, counts) = match dataset.task {
        TaskKind::Re => {
            let scores = relation_scores(dataset, &classes, &all);
            (Some(scores.accuracy), scores.micro, scores.macro_f1, scores.per_class)
        }
        TaskKind::Ner => {
            let scores = span_scores(dataset, &classes, rows);
            (None, scores.micro, scores.macro_f1, scores.per_type)
        }
    };
    let by_class = || classes.iter().map(|class| (*class).to_owned()).zip(counts.iter());
    StageScores {
        tasks_learned: stage + 1,
        rows: rows.len(),
        accuracy,
        micro_f1: Counts::f1(micro),
        macro_f1,
        f1_by_class: by_class().map(|(class, counts)| (class, counts.f1())).collect(),
        support_by_class: by_class().map(|(class, counts)| (class, counts.gold)).collect(),
    }
}

/// `R[i][j]` for the rows of stage `i`.
fn task_score(dataset: &DatasetRecord, task: usize, rows: &[Predicted]) -> f64 {
    match dataset.task {
        TaskKind::Re => {
            let own: Vec<&Predicted> = rows.iter().filter(|row| row.owner == Some(task)).collect();
            let all: Vec<&str> = dataset.tasks.iter().flat_map(|task| &task.classes).map(String::as_str).collect();
            relation_scores(dataset, &all, &own).micro.f1()
        }
        TaskKind::Ner => {
            let own: Vec<&str> = dataset.tasks[task].classes.iter().map(String::as_str).collect();
            span_scores(dataset, &own, rows).micro.f1()
        }
    }
}

fn relation_scores(dataset: &DatasetRecord, classes: &[&str], rows: &[&Predicted]) -> relation::RelationScores {
    let id = |class: &&str| dataset.labels.iter().position(|label| label == class).map(|id| id as u32);
    let ids: Vec<u32> = classes.iter().filter_map(id).collect();
    let first = |labels: &Vec<u32>| labels.first().copied().unwrap_or(u32::MAX);
    let gold: Vec<u32> = rows.iter().map(|row| first(&row.gold)).collect();
    let predicted: Vec<u32> = rows.iter().map(|row| first(&row.predicted)).collect();
    relation::score(&gold, &predicted, &ids)
}

fn span_scores(dataset: &DatasetRecord, types: &[&str], rows: &[Predicted]) -> span::SpanScores {
    let name = |id: &u32| dataset.labels.get(*id as usize).map_or("O", String::as_str);
    let names = |of: fn(&Predicted) -> &Vec<u32>| {
        rows.iter().map(|row| of(row).iter().map(name).collect()).collect::<Vec<Vec<&str>>>()
    };
    span::score(&names(|row| &row.gold), &names(|row| &row.predicted), types)
}
