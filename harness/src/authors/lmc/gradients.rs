//! Gradients of the task's loss (`g.`) and what the balance of the streams makes of them (`mod.`).

use std::collections::BTreeMap;

use candle_core::Tensor;
use candle_core::backprop::GradStore;
use mkgc_models::losses::modulation::deviation;
use mkgc_models::mode::Mode;
use mkgc_models::ops::backward;

use super::{AuthorsLmc, names};
use crate::authors::{Errors, GRADIENT};
use crate::learner::Learner;
use crate::methods::shared::training::Objective;

/// Largest norm, of all gradients' norm, of one that is zero in exact arithmetic.
const ZERO: f64 = 1e-6;

pub fn check(lmc: &AuthorsLmc<'_>, errors: &mut Errors) {
    let learner = lmc.learner();
    let batch = lmc.forward_batch();
    let allowed = lmc.allowed();
    let mut objective = lmc.objective(None);
    let loss = objective.loss(&learner, &batch, &allowed, &mut Mode::Eval).unwrap();
    let mut grads = backward(&loss).unwrap();
    let raw = by_name(&learner, &grads);
    objective.adjust(&learner, &mut grads).unwrap();
    plain(lmc, &raw, errors);
    modulated(lmc, &raw, &by_name(&learner, &grads), errors);
}

/// Gradients by our names, zeros where there is none.
fn by_name(learner: &Learner, grads: &GradStore) -> BTreeMap<String, Tensor> {
    let of = |var: &Tensor| grads.get(var).cloned().unwrap_or_else(|| var.zeros_like().unwrap());
    learner.params().vars().into_iter().map(|(name, var)| (name, of(var.as_tensor()))).collect()
}

pub fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

/// Returns the L2 norm of all values, summed in f64.
pub fn norm(tensor: &Tensor) -> f64 {
    values(tensor).into_iter().map(|value| f64::from(value).powi(2)).sum::<f64>().sqrt()
}

fn plain(lmc: &AuthorsLmc<'_>, grads: &BTreeMap<String, Tensor>, errors: &mut Errors) {
    let all = grads.values().map(|grad| norm(grad).powi(2)).sum::<f64>().sqrt();
    for (name, tensor) in lmc.case.below("g.") {
        if name == "norms" {
            let names = lmc.case.order("g.norms");
            let ours: Vec<f64> =
                names.iter().map(|name| norm(&names::theirs(lmc.case, lmc.kind, name, grads))).collect();
            let theirs: Vec<f64> = values(tensor).into_iter().map(f64::from).collect();
            errors.values("g.norms", &ours, &theirs, GRADIENT);
            errors.each("g.norms", lmc.sound(&names, &ours, &theirs));
            continue;
        }
        let (name, tensor) = names::stored(lmc.case, name, tensor);
        let ours = names::theirs(lmc.case, lmc.kind, name, grads);
        if lmc.noise_driven.contains(&name) {
            errors.number(&format!("g.{name} (zero but for rounding)"), norm(&ours) / all, 0.0, ZERO);
        } else {
            errors.tensor(&format!("g.{name}"), &ours, &tensor, GRADIENT);
        }
    }
}

/// `raw` before the balance, `quiet` after it, without noise.
fn modulated(
    lmc: &AuthorsLmc<'_>,
    raw: &BTreeMap<String, Tensor>,
    quiet: &BTreeMap<String, Tensor>,
    errors: &mut Errors,
) {
    let theirs = |name: &str, grads| names::theirs(lmc.case, lmc.kind, name, grads);
    let noise = |name: &str| deviation(&values(&theirs(name, raw)));
    for (name, tensor) in lmc.case.below("mod.quiet.") {
        let (name, tensor) = names::stored(lmc.case, name, tensor);
        errors.tensor(&format!("mod.quiet.{name}"), &theirs(name, quiet), &tensor, GRADIENT);
    }
    for (name, tensor) in lmc.case.below("mod.noisy.") {
        let (name, tensor) = names::stored(lmc.case, name, tensor);
        let (_, draw) = lmc
            .case
            .below("mod.noise.")
            .map(|(name, tensor)| names::stored(lmc.case, name, tensor))
            .find(|(drawn, _)| *drawn == name)
            .unwrap();
        let ours = (theirs(name, quiet) + (draw * noise(name)).unwrap()).unwrap();
        errors.tensor(&format!("mod.noisy.{name}"), &ours, &tensor, GRADIENT);
    }
    if let Some(tensor) = lmc.case.tensors.get("mod.noise_std") {
        let names = lmc.case.order("mod.noise_std");
        let ours: Vec<f64> = names.iter().map(|name| noise(name)).collect();
        let theirs: Vec<f64> = values(tensor).into_iter().map(f64::from).collect();
        errors.values("mod.noise_std", &ours, &theirs, GRADIENT);
        errors.each("mod.noise_std", lmc.sound(&names, &ours, &theirs));
    }
}
