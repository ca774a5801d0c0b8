//! Times the optimiser steps of a method on a benchmark's own rows, and leaves an account of them, so that another
//! program can take the same steps.

use std::path::Path;
use std::rc::Rc;

use serde_json::{Value, json};

use crate::config::Config;
use crate::data::{Benchmark, Example, Task};
use crate::error::{Error, Result};
use crate::learner::Blueprint;
use crate::methods::{self, Session};
use crate::run::ledger::Ledger;
use crate::run::log::{Log, memory_mib};
use crate::stream::{Request, prepare};

/// Steps that are not counted: the first ones fault in memory.
const WARM_UP: usize = 2;

/// What to time.
pub struct Timing<'a> {
    /// Steps that count.
    pub steps: usize,
    /// Rows of the second task, where distillation and replay begin, instead of the first.
    pub second_task: bool,
    /// Word pieces of each row, by repeating its own; rows with an anchor beyond are left out.
    pub length: Option<usize>,
    /// Folder for `case.json` and the first weights (see [`Ledger::write`]).
    pub account: Option<&'a Path>,
}

/// Settings and shapes of a run, as an account begins.
pub fn description(method: &str, benchmark: &Benchmark, blueprint: &Blueprint, config: &Config) -> Value {
    let (text, vision) = blueprint.encoder.configs(blueprint.tokenizer.vocab_size());
    json!({
        "method": method, "kind": benchmark.kind(), "config": config, "text": text,
        "vision": blueprint.pictures.as_ref().and(vision), "labels": benchmark.manifest().labels,
        "pad": blueprint.tokenizer.pad_id(),
    })
}

/// Takes two steps that do not count and then those that do. The answer has `seconds` of each step (what is left to wait
/// for its batch, forward, backward and update), `losses`, `peak_mib`, device, threads and version.
///
/// # Errors
/// A task with too few rows, and as [`crate::stream::train`].
pub fn steps(request: &Request, timing: &Timing<'_>) -> Result<Value> {
    // The rows are as many as the steps need: one pass. Nothing after it is timed, so later phases are left out.
    let resolved = request.resolved.config.clone();
    let config = &Config { epochs: 1, memory_epochs: 0, rounds: 0, ewc_grid: vec![], ..resolved };
    let benchmark = Benchmark::open(&request.benchmark, config.max_length)?;
    let (blueprint, record) = prepare(request, &benchmark)?;
    let folder = tempfile::tempdir().map_err(|error| Error::Usage(format!("a temporary folder: {error}")))?;
    let mut log = Log::open(&folder.path().join("metrics.jsonl"), "bench", 2, 0, config.lr_encoder)?;
    let ledger = if timing.account.is_some() { Ledger::with_account() } else { Ledger::default() };
    let mut ledger = ledger.with_clock();
    let mut session =
        Session { blueprint: Rc::clone(&blueprint), config, benchmark: &benchmark, log: &mut log, ledger: &mut ledger };
    let mut method = methods::create(&request.method, &mut session)?;
    let counted = WARM_UP + timing.steps;
    let stages = if timing.second_task { vec![(0, WARM_UP), (1, counted)] } else { vec![(0, counted)] };
    let mut before = 0;
    for (stage, steps) in stages {
        let train = rows(benchmark.training(stage, &blueprint.tokenizer)?, steps * config.batch_size, timing.length)?;
        session.log.stage(stage);
        before = session.ledger.steps;
        let task = Task { seen: benchmark.seen(stage), train };
        session.ledger.task(&task.seen);
        method.learn(&task, &mut session)?;
    }
    if let Some(folder) = timing.account {
        fs_err::create_dir_all(folder)?;
        ledger.write(folder, description(&request.method, &benchmark, &blueprint, config))?;
    }
    let timed = ledger.timed().get(before + WARM_UP..before + counted);
    let none = || Error::Usage(format!("{} takes no such steps, so there is nothing to time", request.method));
    let (seconds, losses): (Vec<f64>, Vec<f64>) = timed.ok_or_else(none)?.iter().copied().unzip();
    Ok(json!({
        "device": record.device, "threads": record.threads, "version": record.code_version,
        "seconds": seconds, "losses": losses, "peak_mib": memory_mib("VmHWM:"),
    }))
}

/// The first `count` rows, of the length asked for.
fn rows(mut rows: Vec<Example>, count: usize, length: Option<usize>) -> Result<Vec<Example>> {
    if let Some(length) = length {
        rows.retain(|row| row.anchors.iter().all(|anchor| (*anchor as usize) < length));
        for row in &mut rows {
            row.ids = row.ids.iter().copied().cycle().take(length).collect();
        }
    }
    if rows.len() < count {
        let reason = format!("the task has {} such rows, the steps need {count}", rows.len());
        return Err(Error::Usage(format!("{reason}; ask for fewer steps or smaller batches")));
    }
    rows.truncate(count);
    Ok(rows)
}
