//! Whole trajectories: a tiny network of every method takes at least 30 optimiser steps over two tasks, memory and all;
//! the loss of every step and the final variables equal those of an independent PyTorch program that was given the same
//! rows in the same order (`tools/trajectory/twin.py`).
//!
//! To make the numbers again after a change of what a method does:
//!
//! ```sh
//! MKGC_TRAJECTORY_OUT=/tmp/cases cargo test --workspace --test trajectory
//! python tools/trajectory/twin.py /tmp/cases harness/tests/golden/trajectory
//! ```
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod common;

use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use common::{Learned, Place, well_conditioned};
use mkgc_builder::corpus::Extraction;
use mkgc_harness::bench;
use mkgc_harness::methods::registry;
use serde_json::json;

/// Largest relative error of any loss, and of all variables together.
const TOLERANCE: f64 = 1e-3;

/// What a single variable may be off by, relative to how far it moved: where a gradient is as small as its rounding,
/// Adam makes steps of full size of either.
const TOLERANCE_OF_MOVEMENT: f64 = 0.05;

fn golden(case: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/trajectory").join(format!("{case}.safetensors"))
}

/// In exact arithmetic these have no gradient (a constant added to all logits of a softmax); Adam turns the rounding
/// noise into steps, which change nothing else.
fn without_gradient(name: &str, method: &str) -> bool {
    let key_bias = name.ends_with("self.key.bias") || name.ends_with("k_proj.bias");
    let cancelled = ["shared.key.", "layer.1.attention.self.query.", "layers.1.self_attn.q_proj."];
    key_bias || (method == "lmc-released" && cancelled.iter().any(|part| name.contains(part)))
}

fn norm(tensor: &Tensor) -> f64 {
    f64::from(tensor.sqr().unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap()).sqrt()
}

fn write_case(folder: &Path, method: &str, learned: &Learned) {
    let mut images = serde_json::Map::new();
    fs_err::create_dir_all(folder).unwrap();
    if let Some(pictures) = &learned.spec.pictures {
        let rows: Vec<_> =
            (0..2).flat_map(|task| learned.benchmark.training(task, &learned.spec.tokenizer).unwrap()).collect();
        for (place, row) in rows.iter().enumerate() {
            images.insert(row.image.clone().unwrap(), json!(place));
        }
        let mkgc_models::inputs::Pixels::Image(pixels) =
            pictures.pixels(&rows.iter().collect::<Vec<_>>(), &Device::Cpu).unwrap()
        else {
            panic!("cases have whole pictures")
        };
        candle_core::safetensors::save(&[("pixels", pixels)].into(), folder.join("pixels.safetensors")).unwrap();
    }
    let mut description = bench::description(method, &learned.benchmark, &learned.spec, &learned.config);
    description["images"] = json!(images);
    learned.trace.write(folder, description).unwrap();
}

fn compare(case: &str, method: &str, learned: &Learned) {
    let golden = candle_core::safetensors::load(golden(case), &Device::Cpu).unwrap();
    let (ours, theirs) = (learned.trace.losses(), golden["losses"].to_vec1::<f32>().unwrap());
    assert_eq!(ours.len(), theirs.len(), "{case}: number of steps");
    let scale = theirs.iter().map(|loss| loss.abs()).fold(0.0f32, f32::max);
    let error =
        |(ours, theirs): (&f64, &f32)| (ours - f64::from(*theirs)).abs() / f64::from(theirs.abs().max(0.01 * scale));
    let losses = ours.iter().zip(&theirs).map(error).fold(0.0, f64::max);
    assert!(losses <= TOLERANCE, "{case}: a loss is off by {losses:e}");
    let start = learned.trace.fresh_values("network").unwrap();
    let (mut off, mut size, mut moved, mut worst, mut compared) = (0.0f64, 0.0f64, 0.0f64, 0.0f64, 0);
    for (name, value) in learned.method.learner().unwrap().params().tensors().unwrap() {
        if without_gradient(&name, method) {
            continue;
        }
        let expected = &golden[&format!("final.{name}")];
        let of_variable = norm(&(&value - expected).unwrap());
        let movement = norm(&(expected - &start[&name]).unwrap());
        assert!(
            of_variable <= TOLERANCE_OF_MOVEMENT * movement,
            "{case}: {name} is off by {of_variable:e} of {movement:e}"
        );
        worst = worst.max(of_variable / movement.max(1e-9));
        compared += 1;
        off += of_variable.powi(2);
        size += norm(expected).powi(2);
        moved += movement.powi(2);
    }
    let (values, movements) = ((off / size).sqrt(), (off / moved).sqrt());
    assert!(compared > 10 && values <= TOLERANCE, "{case}: variables are off by {values:e}");
    println!(
        "{case}: {} steps, losses {losses:.1e}, variables {values:.1e}, of their movement {movements:.1e}, \
         of a variable's {worst:.1e}",
        ours.len()
    );
}

/// Settings of a method's case.
fn settings(method: &str) -> String {
    let own = if method == "emar-bert" { "epochs = 2\nrounds = 3" } else { "" };
    format!("{}\n{own}", well_conditioned(method))
}

/// Settings that every method has, on relations: name of the case, method, settings.
const OF_SETTINGS: [(&str, &str, &str); 4] = [
    ("emr-linear", "emr", "schedule = \"linear\"\nwarmup = 0.3"),
    ("emr-cls", "emr", "head = \"cls\""),
    ("mkgformer-cls", "mkgformer", "head = \"cls\""),
    ("lmc-markers", "lmc", "head = \"markers\""),
];

fn trajectories(kind: Extraction) {
    let place = Place::new(kind);
    let suffix = if kind == Extraction::Relations { "re" } else { "ner" };
    let out = std::env::var_os("MKGC_TRAJECTORY_OUT");
    let further: &[(&str, &str, &str)] = if kind == Extraction::Relations { &OF_SETTINGS } else { &[] };
    let plain = registry::names().map(|method| (method, method, ""));
    for (name, method, further) in plain.chain(further.iter().copied()) {
        let case = format!("{name}-{suffix}");
        let learned = place.learned(method, &format!("{}\n{further}", settings(method)));
        if learned.method.learner().is_none() {
            assert_eq!(learned.trace.steps, 0, "{case}: a step without a network");
            continue;
        }
        assert!(learned.trace.steps >= 30, "{case}: only {} steps", learned.trace.steps);
        match &out {
            Some(out) => write_case(&Path::new(out).join(&case), method, &learned),
            None => compare(&case, method, &learned),
        }
    }
}

#[test]
fn every_method_takes_the_steps_of_its_pytorch_twin_on_relations() {
    trajectories(Extraction::Relations);
}

#[test]
fn every_method_takes_the_steps_of_its_pytorch_twin_on_entities() {
    trajectories(Extraction::Entities);
}
