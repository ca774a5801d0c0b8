//! The task loop: learn a task, predict its test file, store both, go on; pick up where an interrupted run stopped.

use std::path::PathBuf;

use candle_core::Device;
use mkgc_builder::corpus::TaskKind;
use mkgc_builder::dataset::RowLabels;

use crate::config::Resolved;
use crate::data::{Benchmark, Example, Seen, Task};
use crate::error::Result;
use crate::learner::{Blueprint, EncoderSource, Prediction};
use crate::methods::{self, Method, Session};
use crate::metrics::score::{RunResult, score_run};
use crate::run::log::Log;
use crate::run::predictions::{self, Predicted};
use crate::run::record::RunRecord;
use crate::run::{RunFolder, checkpoint, read_json, write_json};

/// What to run.
pub struct Request {
    /// Folder that `mkgc build` wrote.
    pub benchmark: PathBuf,
    /// Method name.
    pub method: String,
    /// `tiny` or an encoder folder.
    pub encoder: String,
    /// Settings.
    pub resolved: Resolved,
    /// Where to compute.
    pub device: Device,
    /// Its name in `run.json`.
    pub device_name: String,
    /// The run folder.
    pub out: PathBuf,
}

/// Rows per prediction batch.
const PREDICT_BATCH: usize = 64;

/// Runs the stream, or what is left of it, and returns the result (also in `result.json`).
pub fn train(request: &Request) -> Result<RunResult> {
    let config = &request.resolved.config;
    let benchmark = Benchmark::open(&request.benchmark, config.max_length)?;
    let (encoder, tokenizer) = EncoderSource::open(&request.encoder, &benchmark)?;
    let identity = (request.encoder.as_str(), encoder.identity.as_str());
    let record =
        RunRecord::new(benchmark.manifest(), &request.method, identity, &request.device_name, &request.resolved);
    let folder = RunFolder::new(&request.out);
    folder.open(&record)?;
    if folder.result().exists() {
        return read_json(&folder.result());
    }
    let labels = benchmark.manifest().labels.len();
    let blueprint = Blueprint { kind: benchmark.kind(), labels, encoder, tokenizer, device: request.device.clone() };
    let mut method = methods::create(&request.method, &blueprint, config)?;
    let saved = checkpoint::load(&folder.checkpoint(), &request.device)?;
    let first = saved.as_ref().map_or(0, |(stage, _)| stage + 1);
    let title = format!("{} {}", benchmark.manifest().name, request.method);
    let mut log = Log::open(&folder.metrics(), &title, benchmark.tasks(), first, config.lr_encoder)?;
    let mut session = Session { blueprint: &blueprint, config, benchmark: &benchmark, log: &mut log };
    if let Some((_, state)) = saved {
        method.restore(state, &session)?;
    }
    for stage in first..benchmark.tasks() {
        session.log.stage(stage);
        let task = Task { seen: benchmark.seen(stage), train: benchmark.training(stage, &blueprint.tokenizer)? };
        method.learn(&task, &mut session)?;
        predictions::write(&folder.predictions(stage), &predict(method.as_ref(), &session, &task.seen)?)?;
        checkpoint::save(&folder.checkpoint(), stage, &method.state()?)?;
    }
    let result = score_run(&folder)?;
    write_json(&folder.result(), &result)?;
    fs_err::remove_dir_all(folder.checkpoint())?;
    Ok(result)
}

/// Predictions for the test rows of a stage, in file order; gold labels are the corpus's own for the classes seen.
fn predict(method: &dyn Method, session: &Session, seen: &Seen) -> Result<Vec<Predicted>> {
    let rows = session.benchmark.test_rows(seen.stage)?;
    let known = |label: &usize| if seen.allowed[*label] { *label as u32 } else { 0 };
    let gold = rows.iter().map(|row| match &row.labels {
        RowLabels::Relation { original, .. } => vec![known(original)],
        RowLabels::Entities { original, .. } => original.iter().map(known).collect(),
    });
    let examples = session.benchmark.tokenised(&rows, &session.blueprint.tokenizer)?;
    let mut order: Vec<usize> = (0..examples.len()).collect();
    order.sort_by_key(|row| examples[*row].ids.len());
    let mut predicted: Vec<Option<Prediction>> = vec![None; examples.len()];
    for chunk in order.chunks(PREDICT_BATCH) {
        let batch: Vec<&Example> = chunk.iter().map(|row| &examples[*row]).collect();
        for (row, prediction) in chunk.iter().zip(method.predict(&method.batch(&batch)?, seen)?) {
            predicted[*row] = Some(prediction);
        }
    }
    let paired = examples.iter().zip(gold).zip(predicted.into_iter().flatten());
    Ok(paired.map(|((example, gold), prediction)| stored(session.blueprint.kind, example, gold, prediction)).collect())
}

/// Words cut off by `max_length` count as `O`.
fn stored(kind: TaskKind, example: &Example, gold: Vec<u32>, prediction: Prediction) -> Predicted {
    let mut predicted = prediction.labels;
    if kind == TaskKind::Ner {
        predicted.resize(example.words, 0);
    }
    Predicted { id: example.id.clone(), owner: example.owner, gold, predicted, scores: prediction.scores }
}
