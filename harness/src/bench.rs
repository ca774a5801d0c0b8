//! Times the optimiser steps of a method on a benchmark's own rows and, if asked to, writes a trace of them, so that
//! another program can take the same steps.

use std::path::Path;
use std::rc::Rc;
use std::time::Instant;

use candle_core::utils::get_num_threads;
use candle_core::{DType, Device, Tensor};
use mkgc_models::{ops, simd};
use serde_json::{Value, json};

use crate::config::Config;
use crate::data::{Benchmark, Example, Task};
use crate::error::{Error, Result};
use crate::learner::LearnerSpec;
use crate::methods::Session;
use crate::methods::journal::Journal;
use crate::methods::trace::Trace;
use crate::run::log::{Log, memory_mib};
use crate::train::{Request, prepare};

/// Steps that are not counted: the first ones fault in memory.
const WARM_UP: usize = 2;

/// Rows and columns of the matrices whose product shows what the processor can do.
const SIDE: usize = 1024;

/// Which optimiser steps of a method to time, and on rows of what length.
pub struct Timing<'a> {
    /// Number of steps to time.
    pub steps: usize,
    /// Time steps on the second task, where distillation and replay begin, instead of the first.
    pub second_task: bool,
    /// Word pieces of each row, by repeating its own; rows with an anchor beyond are left out.
    pub length: Option<usize>,
    /// Folder for `case.json` and the initial variables (see [`Trace::write`]).
    pub trace: Option<&'a Path>,
}

/// Describes the settings and shapes of a run, for [`Trace::write`].
pub fn description(method: &str, benchmark: &Benchmark, spec: &LearnerSpec, config: &Config) -> Value {
    let (text, vision) = spec.encoder.configs(spec.tokenizer.vocab_size());
    json!({
        "method": method, "kind": benchmark.kind(), "config": config, "text": text,
        "vision": spec.pictures.as_ref().and(vision), "labels": benchmark.manifest().labels,
        "pad": spec.tokenizer.pad_id(),
    })
}

/// Takes two steps that do not count and then those that do. The result has `seconds` of each step (what is left to wait
/// for its batch, forward, backward and update), `losses`, `peak_mib`, device, threads, version, and `machine`, as
/// [`machine`] says.
///
/// # Errors
/// A task with too few rows; those of [`crate::train::Run::open`]; the loss diverges.
pub fn steps(request: &Request, timing: &Timing<'_>) -> Result<Value> {
    let none = || Error::Usage(format!("{} takes no such steps, so there is nothing to time", request.method.name));
    if !request.method.reads().contains(&"batch_size") {
        return Err(none());
    }
    // The rows are as many as the steps need: one pass. Nothing after it is timed, so later phases are left out.
    let resolved = request.settings.config.clone();
    let config = &Config { epochs: 1, memory_epochs: 0, rounds: 0, ewc_grid: vec![], ..resolved };
    let benchmark = Benchmark::open(&request.benchmark, config.max_length)?;
    benchmark.check_rows()?;
    let (spec, record) = prepare(request, &benchmark)?;
    let spec = Rc::new(spec);
    let mut log = Log::silent("bench", 2, 0, config.lr_encoder);
    let trace = if timing.trace.is_some() { Trace::recording() } else { Trace::default() };
    let mut trace = trace.with_clock();
    let mut journal = Journal::default();
    let mut session = Session {
        spec: Rc::clone(&spec),
        config,
        benchmark: &benchmark,
        log: &mut log,
        trace: &mut trace,
        journal: &mut journal,
    };
    let mut method = (request.method.create)(&mut session)?;
    let counted = WARM_UP + timing.steps;
    let stages = if timing.second_task { vec![(0, WARM_UP), (1, counted)] } else { vec![(0, counted)] };
    let mut before = 0;
    for (stage, steps) in stages {
        let train = rows(benchmark.training(stage, &spec.tokenizer)?, steps * config.batch_size, timing.length)?;
        session.log.begin_task(stage, false);
        before = session.trace.steps;
        let task = Task { seen: benchmark.seen(stage), train };
        session.trace.task(&task.seen);
        method.learn(&task, &mut session)?;
    }
    if let Some(folder) = timing.trace {
        fs_err::create_dir_all(folder)?;
        trace.write(folder, description(request.method.name, &benchmark, &spec, config))?;
    }
    let timed = trace.timed().get(before + WARM_UP..before + counted);
    let (seconds, losses): (Vec<f64>, Vec<f64>) = timed.ok_or_else(none)?.iter().copied().unzip();
    Ok(json!({
        "device": request.device_name, "threads": get_num_threads(), "version": record.code_version,
        "seconds": seconds, "losses": losses, "peak_mib": memory_mib("VmHWM:"), "machine": machine()?,
    }))
}

/// Describes where a figure comes from: `processor` by its name, the `cores` that this process may use, the instruction sets that
/// `inner_loops` and `products` take on it, the best rate of a product of two matrices of 1024 x 1024 on all threads
/// (`product_gflops`), and `load`, the system's averages over 1, 5 and 15 minutes (empty where Linux's `/proc` is not).
///
/// # Errors
/// When the products fail.
fn machine() -> Result<Value> {
    let read = |path: &str| fs_err::read_to_string(path).unwrap_or_default();
    let averages = read("/proc/loadavg");
    let load: Vec<f64> = averages.split_whitespace().take(3).filter_map(|average| average.parse().ok()).collect();
    Ok(json!({
        "processor": processor(&read("/proc/cpuinfo")), "cores": std::thread::available_parallelism()?.get(),
        "inner_loops": simd::inner_loops(), "products": simd::products(),
        "product_gflops": product_rate()? / 1e9, "load": load,
    }))
}

/// Returns the model of the first processor of Linux's `/proc/cpuinfo`, with family and number because hypervisors shorten
/// names; the architecture if there is none.
fn processor(cpuinfo: &str) -> String {
    let field = |name: &str| {
        let mut fields = cpuinfo.lines().filter_map(|line| line.split_once(':'));
        fields.find_map(|(key, value)| (key.trim() == name).then(|| value.trim().to_owned()))
    };
    match (field("model name"), field("cpu family"), field("model")) {
        (Some(name), Some(family), Some(model)) => format!("{name}, family {family} model {model}"),
        (Some(name), ..) => name,
        _ => std::env::consts::ARCH.to_owned(),
    }
}

/// Measures the operations per second of a matrix product, the best of ten, f32 on the CPU.
fn product_rate() -> Result<f64> {
    let matrix = Tensor::ones((SIDE, SIDE), DType::F32, &Device::Cpu)?;
    let mut best = f64::INFINITY;
    for _ in 0..10 {
        let start = Instant::now();
        ops::linear(&matrix, &matrix, None)?;
        best = best.min(start.elapsed().as_secs_f64());
    }
    Ok(2.0 * (SIDE as f64).powi(3) / best)
}

/// Returns the first `count` rows, repeated or cut to `length` word pieces.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_processor_is_named_by_its_model() {
        let of = "processor\t: 0\ncpu family\t: 25\nmodel\t\t: 1\nmodel name\t: AMD EPYC\n\nprocessor\t: 1\n";
        assert_eq!(processor(of), "AMD EPYC, family 25 model 1");
        assert_eq!(processor("model name\t: Some core\n"), "Some core");
        assert_eq!(processor("processor\t: 0\nCPU part\t: 0xd0c\n"), std::env::consts::ARCH);
    }
}
