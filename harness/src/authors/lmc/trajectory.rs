//! The trajectory (`traj.`): the steps of the schedule with LMC's own objective, optimiser and teacher.

use std::collections::BTreeMap;

use candle_core::Tensor;
use mkgc_models::inputs::Stream;
use mkgc_models::mode::{DropoutRng, Mode};
use serde_json::Value;

use super::distillation::{scalar, show};
use super::gradients::{norm, values};
use super::{AuthorsLmc, names};
use crate::authors::{Errors, TRAJECTORY, rows};
use crate::learner::Learner;
use crate::methods::lmc::Teacher;
use crate::methods::shared::training::update;

/// What the steps leave behind to compare.
#[derive(Default)]
struct Taken {
    losses: Vec<f64>,
    vision: Vec<f64>,
    text: Vec<f64>,
    /// Text and vision term of each step that distils.
    distilled: Vec<f64>,
    /// The same, with the authors' value where rounding decided.
    comparable: Vec<f64>,
}

fn phase(step: &Value) -> &str {
    step["phase"].as_str().unwrap()
}

fn distils(step: &Value) -> bool {
    phase(step).contains("distillation")
}

pub fn check(lmc: &AuthorsLmc<'_>, errors: &mut Errors) {
    let Some(schedule) = lmc.case.json["schedule"].as_array() else { return };
    let learner = lmc.learner();
    let taken = steps(lmc, &learner, schedule);
    let terms = schedule.iter().filter_map(|step| step["distillation_text_vision"].as_array()).flatten();
    let terms: Vec<f64> = terms.map(|term| term.as_f64().unwrap()).collect();
    let decided = taken.distilled.iter().zip(&taken.comparable).filter(|(ours, comparable)| ours != comparable);
    let decided: Vec<String> = decided.map(|(ours, theirs)| format!("{ours:.6} for {theirs:.6}")).collect();
    println!("{}: rounding decided {} of {} terms: {}", lmc.case.name, decided.len(), terms.len(), decided.join(", "));
    errors.values("distillation of the steps, without those", &taken.comparable, &terms, TRAJECTORY);
    compare(lmc, &learner, &taken, errors);
}

fn steps(lmc: &AuthorsLmc<'_>, learner: &Learner, schedule: &[Value]) -> Taken {
    let mut taken = Taken::default();
    let mut optimiser = learner.optimiser(&lmc.config).unwrap();
    let mut dropout = DropoutRng::new(0);
    let mut teacher = None;
    for (n, step) in schedule.iter().enumerate() {
        if !distils(step) {
            teacher = None;
        } else if teacher.is_none() {
            // The network as it is before the task, for all of the task's batches.
            let task = schedule[n..].iter().take_while(|step| distils(step));
            let batches: Vec<_> = task.map(|step| lmc.batch(&rows(&step["rows"]))).collect();
            teacher = Some(show(learner, &lmc.config, &batches.iter().collect::<Vec<_>>()));
        }
        let batch = lmc.batch(&rows(&step["rows"]));
        let counted = taken.distilled.len();
        if let Some(teacher) = &teacher {
            let theirs = step["distillation_text_vision"].as_array().unwrap();
            let theirs = theirs.iter().map(|term| term.as_f64().unwrap());
            let noisy = !lmc.noise_driven.is_empty() && n > 0 && distils(&schedule[n - 1]);
            let ours = terms(learner, teacher, &batch);
            taken.distilled.extend(ours);
            taken.comparable.extend(ours.into_iter().zip(theirs).map(|(ours, theirs)| comparable(ours, theirs, noisy)));
        }
        let mut objective = lmc.objective(teacher.as_ref());
        let mut mode = Mode::Train(&mut dropout);
        let loss = update(learner, &mut optimiser, &mut objective, &batch, &lmc.allowed(), &mut mode, None);
        // What rounding decides in the distillation, it decides in the loss.
        let decided: f64 =
            taken.comparable.iter().zip(&taken.distilled).skip(counted).map(|(to, from)| to - from).sum();
        taken.losses.push(loss.unwrap() + lmc.config.lambda * decided);
        taken.vision.push(objective.coefficients.vision);
        taken.text.push(objective.coefficients.text);
    }
    taken
}

/// Terms of text and vision.
fn terms(learner: &Learner, teacher: &Teacher, batch: &crate::data::Batch<'_>) -> [f64; 2] {
    let forward = learner.forward(batch, &mut Mode::Eval).unwrap();
    [Stream::Text, Stream::Vision].map(|stream| scalar(&teacher.term(stream, &forward, batch).unwrap()))
}

/// What a term changes by if one row counts in no layer of one direction any more: a row alone gives √1/100.
const ONE_ROW: f64 = 0.01;

/// Returns the term, or the authors' value where noise explains the difference: a term counts the rows with a positive
/// difference from the teacher. Queries and keys of the released form have no gradient but rounding, of which AdamW makes
/// whole steps (the case lists them as driven by noise), so from a teacher's second step on noise decides whether a row
/// counts whose differences are small. One such row is allowed for, and not that none counts.
fn comparable(ours: f64, theirs: f64, noisy: bool) -> f64 {
    let apart = (ours - theirs).abs();
    let explained = ours > 0.0 && theirs > 0.0 && apart > TRAJECTORY * theirs && apart < ONE_ROW;
    if noisy && explained { theirs } else { ours }
}

/// Everything below `traj.`; parameters that rounding moves are left out.
fn compare(lmc: &AuthorsLmc<'_>, learner: &Learner, taken: &Taken, errors: &mut Errors) {
    let start = names::values(lmc.case, lmc.kind);
    let end = learner.params().tensors().unwrap();
    let of = |name: &str, values: &BTreeMap<String, Tensor>| names::theirs(lmc.case, lmc.kind, name, values);
    let change = |name: &str| norm(&(of(name, &end) - of(name, &start)).unwrap());
    let order = if lmc.case.tensors.contains_key("traj.norm") { lmc.case.order("traj.norm") } else { Vec::new() };
    let sound: Vec<bool> = order.iter().map(|name| !lmc.noise_driven.contains(name)).collect();
    let norms: Vec<f64> = order.iter().map(|name| norm(&of(name, &end))).collect();
    let total = |keep: &dyn Fn(usize) -> bool| {
        let kept = norms.iter().enumerate().filter(|(n, _)| keep(*n));
        vec![kept.map(|(_, norm)| norm.powi(2)).sum::<f64>().sqrt()]
    };
    for (name, tensor) in lmc.case.below("traj.") {
        if let Some(name) = name.strip_prefix("final.") {
            let (name, tensor) = names::stored(lmc.case, name, tensor);
            if !lmc.noise_driven.contains(&name) {
                errors.tensor(&format!("traj.final.{name}"), &of(name, &end), &tensor, TRAJECTORY);
            }
            continue;
        }
        let theirs: Vec<f64> = values(tensor).into_iter().map(f64::from).collect();
        let only_sound = |all: Vec<f64>| -> Vec<f64> {
            all.into_iter().zip(&sound).filter(|(_, sound)| **sound).map(|(value, _)| value).collect()
        };
        let (ours, theirs) = match name {
            "losses" => (taken.losses.clone(), theirs),
            "coeff_vision" => (taken.vision.clone(), theirs),
            "coeff_text" => (taken.text.clone(), theirs),
            "norm" => (only_sound(norms.clone()), only_sound(theirs)),
            "change" => (only_sound(order.iter().map(|name| change(name)).collect()), only_sound(theirs)),
            "norm_of_all" => (total(&|_| true), theirs),
            "norm_of_all_sound" => (total(&|n| sound[n]), theirs),
            _ => (after(lmc, learner, name), theirs),
        };
        let quantity = format!("traj.{name}");
        match name {
            "norm" | "change" => errors.norms(&quantity, &ours, &theirs, TRAJECTORY),
            _ => errors.values(&quantity, &ours, &theirs, TRAJECTORY),
        }
    }
}

/// Loss or scores of the forward rows at the end.
fn after(lmc: &AuthorsLmc<'_>, learner: &Learner, name: &str) -> Vec<f64> {
    let batch = lmc.forward_batch();
    let scores = learner.scores(&learner.forward(&batch, &mut Mode::Eval).unwrap().features).unwrap();
    match name {
        "final_loss" => vec![scalar(&learner.task_loss(&scores, &batch, &lmc.allowed()).unwrap())],
        "final_logits" | "final_emissions" => values(&scores).into_iter().map(f64::from).collect(),
        _ => panic!("`traj.{name}` is not known"),
    }
}
