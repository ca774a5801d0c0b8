//! Every method on a GPU beside the CPU. Without a GPU, `tools/simulated-gpu/check` runs these tests on a simulated one.
//!
//! The same program computes both sides: rows, shuffles, initial variables, dropout masks and noise do not depend on the
//! device, so a loss may differ by rounding alone.
#![cfg(feature = "cuda")]
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod common;

use candle_core::{DType, Device};
use common::{Place, well_conditioned};
use mkgc_builder::corpus::Extraction;
use mkgc_harness::methods::registry;
use mkgc_harness::run::RunFolder;
use mkgc_harness::run::predictions;

/// Few rows for two tasks, one pass over each, so that a method takes two steps on the first task and three on the second.
const FEW: [usize; 2] = [8, 12];

/// Settings of a method, by the number type. AdamW makes a whole step of a gradient that is zero but for rounding, which has
/// another sign elsewhere: rates are small, most of all in bf16. All rows are stored, so that rounding does not choose.
fn settings(method: &str, dtype: DType) -> String {
    // The value of its distillation counts rows with a positive difference from the teacher, and jumps with rounding.
    let lambda = if method == "lmc-released" { "lambda = 0.0" } else { "" };
    let rate = if dtype == DType::F32 { 1e-4 } else { 1e-5 };
    let rates = ["encoder", "head", "key", "bias", "memory_network"].map(|group| format!("lr_{group} = {rate}"));
    format!("memory_per_class = 1000\n{lambda}\n{}", rates.join("\n"))
}

/// Losses of the first steps of both tasks.
fn losses(place: &Place, method: &str, dtype: DType) -> Vec<f64> {
    let few = "epochs = 1\nmemory_epochs = 1\nrounds = 1\nhead_dropout = 0.1";
    let learned = place.learned_with(method, &format!("{few}\n{}", settings(method, dtype)), |mut task| {
        task.train.truncate(FEW[task.seen.task]);
        task
    });
    learned.unwrap().trace.losses()
}

/// Largest difference of a loss, relative to the largest loss: a logit rounds as much where a loss is small.
fn error(ours: &[f64], twin: &[f64]) -> f64 {
    assert_eq!(ours.len(), twin.len(), "number of steps");
    let largest = twin.iter().copied().fold(1e-3, f64::max);
    let part = |(ours, twin): (&f64, &f64)| (ours - twin).abs() / largest;
    // `max` would pass over NaN.
    ours.iter().zip(twin).map(part).fold(0.0, |worst, part| if part.is_nan() { f64::INFINITY } else { part.max(worst) })
}

fn compare(kind: Extraction, dtype: DType, bar: f64) {
    let cpu = Place::new(kind);
    let gpu = Place::new(kind).on(mkgc_models::ops::open_gpu(0, dtype).unwrap(), dtype);
    let mut failed = Vec::new();
    for method in registry::names() {
        let twin = losses(&cpu, method, dtype);
        let error = error(&losses(&gpu, method, dtype), &twin);
        println!("{kind:?} {method} {}: {} steps, {error:.1e}", dtype.as_str(), twin.len());
        failed.extend((error > bar).then_some(method));
    }
    assert!(failed.is_empty(), "losses differ by more than {bar:e}: {failed:?}");
}

#[test]
fn first_losses_on_relations_are_those_of_the_cpu() {
    compare(Extraction::Relations, DType::F32, 1e-6);
}

#[test]
fn first_losses_on_entities_are_those_of_the_cpu() {
    compare(Extraction::Entities, DType::F32, 1e-6);
}

#[test]
fn first_losses_on_relations_in_bf16_are_near_those_of_the_cpu() {
    compare(Extraction::Relations, DType::BF16, 1e-2);
}

#[test]
fn first_losses_on_entities_in_bf16_are_near_those_of_the_cpu() {
    compare(Extraction::Entities, DType::BF16, 1e-2);
}

/// Labels that a whole run predicts, task after task.
fn predicted(place: &Place, method: &str) -> Vec<Vec<u32>> {
    let folder = tempfile::tempdir().unwrap();
    let settings = format!("epochs = 2\nmemory_epochs = 2\n{}", well_conditioned(method));
    common::train(place.request(method, &settings, folder.path())).unwrap();
    let rows = |stage| predictions::read(&RunFolder::new(folder.path()).predictions(stage)).unwrap();
    (0..2).flat_map(rows).map(|row| row.predicted).collect()
}

#[test]
fn whole_runs_predict_what_the_cpu_predicts() {
    let mut differing = Vec::new();
    for kind in [Extraction::Relations, Extraction::Entities] {
        let cpu = Place::new(kind);
        let gpu = Place::new(kind).on(mkgc_models::ops::open_gpu(0, DType::F32).unwrap(), DType::F32);
        for method in registry::names() {
            let (ours, twin) = (predicted(&gpu, method), predicted(&cpu, method));
            let other = ours.iter().zip(&twin).filter(|(ours, twin)| ours != twin).count();
            println!("{kind:?} {method}: {other} of {} predictions differ", twin.len());
            assert_eq!(ours.len(), twin.len(), "{kind:?} {method}");
            differing.extend((other > 0).then(|| format!("{kind:?} {method}")));
        }
    }
    assert!(differing.is_empty(), "other predictions than on the CPU: {differing:?}");
}

#[test]
fn a_device_is_opened_once() {
    let open = || mkgc_models::ops::open_gpu(0, DType::F32).unwrap();
    let stream = |device: &Device| device.as_cuda_device().unwrap().id();
    assert_eq!(stream(&open()), stream(&std::thread::spawn(open).join().unwrap()));
}
