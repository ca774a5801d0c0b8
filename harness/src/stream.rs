//! The task loop: learn a task, predict its test file, store both, go on; pick up where an interrupted run stopped.

use std::path::PathBuf;
use std::rc::Rc;
use std::time::Instant;

use candle_core::{DType, Device};
use mkgc_builder::corpus::TaskKind;
use mkgc_builder::dataset::Row;

use crate::config::Resolved;
use crate::data::{Benchmark, Example, Pictures, Seen, Task};
use crate::error::{Error, Result};
use crate::learner::{Answer, Blueprint, EncoderSource, Learner};
use crate::methods::memory::Memory;
use crate::methods::{self, Method, Session, registry};
use crate::metrics::score::{RunResult, score_run};
use crate::metrics::stage;
use crate::run::checkpoint::Saved;
use crate::run::ledger::Ledger;
use crate::run::log::Log;
use crate::run::predictions::{self, PredictionRow};
use crate::run::record::{Cost, RunRecord, VisionRecord};
use crate::run::{RunFolder, checkpoint, failure, write_json};

/// What to run.
pub struct Request {
    /// Folder that `mkgc build` wrote.
    pub benchmark: PathBuf,
    /// Method name.
    pub method: String,
    /// What tells this run's settings from others of the method, e.g. in an ablation.
    pub variant: Option<String>,
    /// Text encoder: `tiny`, a folder or a repository.
    pub encoder: String,
    /// Vision encoder of multimodal methods: `tiny`, a folder or a repository.
    pub vision: String,
    /// Stop after so many tasks; all of them if not given.
    pub tasks: Option<usize>,
    /// Settings.
    pub resolved: Resolved,
    /// Where to compute.
    pub device: Device,
    /// Its name in `run.json`.
    pub device_name: String,
    /// Number type of states and products; weights are f32.
    pub dtype: DType,
    /// Folder of prepared pictures, see [`crate::data::cache::folder`].
    pub cache: PathBuf,
    /// The run folder.
    pub out: PathBuf,
}

/// Rows per prediction batch.
const PREDICT_BATCH: usize = 64;

/// Makes a method by name, as [`methods::create`] does.
pub type Create<'a> = &'a dyn Fn(&str, &mut Session<'_>) -> Result<Box<dyn Method>>;

/// Runs the stream, or what is left of it, and returns the result (also in `result.json`).
pub fn train(request: &Request) -> Result<RunResult> {
    train_with(request, &methods::create)
}

/// The same with a method that the caller makes.
pub fn train_with(request: &Request, create: Create<'_>) -> Result<RunResult> {
    let benchmark = Benchmark::open(&request.benchmark, request.resolved.config.max_length)?;
    let (blueprint, record) = prepare(request, &benchmark)?;
    let folder = RunFolder::new(&request.out);
    if !folder.started() {
        // Settings that no network can have must not leave a folder behind.
        Learner::new(&blueprint, &request.resolved.config, 0)?;
    }
    folder.open(&record)?;
    if folder.result().exists() {
        return RunResult::read(&folder);
    }
    failure::clear(&folder)?;
    let finished = finish(request, &benchmark, blueprint, &folder, &record, create);
    if let Err(error) = &finished
        && let Err(second) = failure::write(&folder, record.dataset.tasks.len(), error)
    {
        eprintln!("warning: {second}");
    }
    finished
}

/// Learns what is left and derives the result.
fn finish(
    request: &Request,
    benchmark: &Benchmark,
    blueprint: Rc<Blueprint>,
    folder: &RunFolder,
    record: &RunRecord,
    create: Create<'_>,
) -> Result<RunResult> {
    let cost = learn_all(request, benchmark, blueprint, folder, record, create)?;
    let result = score_run(folder)?;
    folder.charge(record, cost)?;
    write_json(&folder.result(), &result)?;
    if record.stop_after.is_none() {
        fs_err::remove_dir_all(folder.checkpoint())?;
    }
    Ok(result)
}

/// After how many tasks a run stops; none if that is after the last one.
///
/// # Errors
/// No task, or more than there are.
pub fn stop_after(tasks: Option<usize>, benchmark: &Benchmark) -> Result<Option<usize>> {
    let (name, all) = (&benchmark.manifest().name, benchmark.tasks());
    match tasks {
        Some(tasks) if !(1..=all).contains(&tasks) => {
            Err(Error::Usage(format!("--tasks {tasks}: {name} has {all} tasks; give 1 to {all}, or leave it out")))
        }
        tasks => Ok(tasks.filter(|tasks| *tasks < all)),
    }
}

/// Opens encoders and pictures.
pub(crate) fn prepare(request: &Request, benchmark: &Benchmark) -> Result<(Rc<Blueprint>, RunRecord)> {
    let (config, info) = (&request.resolved.config, registry::find(&request.method)?);
    let (mut encoder, tokenizer, text) = EncoderSource::open(&request.encoder, benchmark)?;
    let mut record =
        RunRecord::new(benchmark.manifest(), &request.method, text, &request.device_name, &request.resolved);
    record.variant.clone_from(&request.variant);
    record.stop_after = stop_after(request.tasks, benchmark)?;
    record.dtype = request.dtype.as_str().to_owned();
    let mut pictures = None;
    if info.multimodal() {
        let vision = encoder.open_vision(&request.vision)?;
        let size = encoder.image_size().unwrap_or_default();
        let opened = Pictures::open(benchmark, config, size, &request.cache)?;
        record.vision = Some(VisionRecord::new(vision, &opened));
        pictures = Some(opened);
    }
    let blueprint = Blueprint {
        kind: benchmark.kind(),
        labels: benchmark.manifest().labels.len(),
        architecture: info.architecture,
        encoder,
        tokenizer,
        pictures,
        device: request.device.clone(),
        dtype: request.dtype,
    };
    Ok((Rc::new(blueprint), record))
}

/// The task loop; what it cost.
fn learn_all(
    request: &Request,
    benchmark: &Benchmark,
    blueprint: Rc<Blueprint>,
    folder: &RunFolder,
    record: &RunRecord,
    create: Create<'_>,
) -> Result<Cost> {
    let config = &request.resolved.config;
    let saved = checkpoint::load(&folder.checkpoint(), &request.device)?;
    let first = saved.as_ref().map_or(0, |saved| saved.stage + 1);
    let mut cost = saved.as_ref().map_or_else(Cost::default, |saved| saved.cost.clone());
    let title = format!("{} {}", benchmark.manifest().name, request.method);
    let mut log = Log::open(&folder.metrics(), &title, benchmark.tasks(), first, config.lr_encoder)?;
    for stage in 0..first {
        let predicted = predictions::read(&folder.predictions(stage))?;
        log.scores(&record.dataset.tasks[stage].name, stage::score(&record.dataset, stage, &predicted))?;
    }
    let mut ledger = Ledger::default();
    let mut session = Session { blueprint, config, benchmark, log: &mut log, ledger: &mut ledger };
    let mut method = create(&request.method, &mut session)?;
    if let Some(mut saved) = saved {
        method.restore(&mut saved.state)?;
        if let Some(memory) = method.memory_mut() {
            *memory = Memory::restore(saved.memory, &session)?;
        }
    }
    let before = cost.clone();
    let started = Instant::now();
    for stage in first..record.tasks() {
        session.log.stage(stage);
        let tokenizer = &session.blueprint.tokenizer;
        let task = Task { seen: benchmark.seen(stage), train: benchmark.training(stage, tokenizer)? };
        session.ledger.task(&task.seen);
        method.learn(&task, &mut session)?;
        let rows = benchmark.test_rows(stage)?;
        let predicted = predict(method.as_ref(), &session, &task.seen, &rows)?;
        predictions::write(&folder.predictions(stage), &predicted)?;
        session.log.scores(&record.dataset.tasks[stage].name, stage::score(&record.dataset, stage, &predicted))?;
        cost = Cost {
            optimiser_steps: before.optimiser_steps + session.ledger.steps,
            tuning_steps: before.tuning_steps + session.ledger.tuning_steps,
            wall_seconds: before.wall_seconds + started.elapsed().as_secs_f64(),
            stored_rows: method.memory().map_or(0, |memory| memory.rows().len()),
            stored_by_class: method.memory().map(|memory| memory.by_class(benchmark.manifest())).unwrap_or_default(),
            ewc: method.choice().cloned(),
        };
        let memory = method.memory().map(Memory::ids).unwrap_or_default();
        let saved = Saved { stage, state: method.state()?, memory, cost: cost.clone() };
        checkpoint::save(&folder.checkpoint(), &saved)?;
    }
    Ok(cost)
}

/// Predictions for rows, in their order, with the labels seen.
pub(crate) fn predict(
    method: &dyn Method,
    session: &Session<'_>,
    seen: &Seen,
    rows: &[Row],
) -> Result<Vec<PredictionRow>> {
    let gold = rows.iter().map(|row| seen.gold(row));
    let examples = session.benchmark.tokenised(rows, &session.blueprint.tokenizer)?;
    let mut order: Vec<usize> = (0..examples.len()).collect();
    order.sort_by_key(|row| examples[*row].ids.len());
    let mut predicted: Vec<Option<Answer>> = vec![None; examples.len()];
    let batches = order.chunks(PREDICT_BATCH).map(|chunk| (chunk, chunk.iter().map(|row| &examples[*row]).collect()));
    session.blueprint.batches(batches.collect(), |chunk, batch| {
        for (row, answer) in chunk.iter().zip(method.answer(batch, seen)?) {
            predicted[*row] = Some(answer);
        }
        Ok(())
    })?;
    let paired = examples.iter().zip(gold).zip(predicted.into_iter().flatten());
    Ok(paired.map(|((example, gold), answer)| stored(session.blueprint.kind, example, gold, answer)).collect())
}

/// Words cut off by `max_length` count as `O`.
fn stored(kind: TaskKind, example: &Example, gold: Vec<u32>, answer: Answer) -> PredictionRow {
    let Answer { joint, mut text, mut vision } = answer;
    let mut predicted = joint.labels;
    if kind == TaskKind::Ner {
        let halves = [&mut text, &mut vision].into_iter().filter(|half| !half.is_empty());
        halves.chain([&mut predicted]).for_each(|labels| labels.resize(example.words, 0));
    }
    PredictionRow { id: example.id.clone(), owner: example.owner, gold, predicted, scores: joint.scores, text, vision }
}
