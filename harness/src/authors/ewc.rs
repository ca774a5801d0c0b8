//! EWC as zjunlp/ContinueMKGC codes it for relations, on the network of its LMC.
//!
//! What is switched to the authors' form, so that it is the only difference: Fisher information sums the squares of the
//! *running sum* of the gradients of batches and is divided by batch size × number of batches; it is replaced after each
//! task (γ = 0); the penalty has no ½ (λ is twice theirs).

use std::collections::BTreeMap;

use candle_core::{Device, Tensor, Var};
use mkgc_builder::corpus::Extraction;
use mkgc_models::inputs::Pixels;
use mkgc_models::mode::Mode;
use mkgc_models::ops::backward;
use mkgc_models::optim::AdamW;
use serde_json::Value;

use super::bert::{all_compared, chosen, listed, norm, values};
use super::lmc::{self, names, shared_layers};
use super::{AuthorsCase, Errors, TRAJECTORY, each, integer, load};
use crate::config::{Config, VisualSetting};
use crate::data::{Batch, Example};
use crate::learner::{Architecture, Learner};
use crate::methods::ewc::{Anchors, Penalised, anchored, squares};
use crate::methods::registry::find;
use crate::methods::shared::training::{Objective, update};

#[test]
fn authors_ewc_re() {
    each("ewc-re", |case, errors| {
        Stream::new(case).run(errors);
        all_compared(case, errors, |name| {
            name.splitn(3, '.').nth(2).is_some_and(|parameter| noise_driven(case, parameter))
        });
    });
}

fn number(case: &AuthorsCase, part: &str, key: &str) -> f64 {
    case.json[part][key].as_f64().unwrap_or_else(|| panic!("`{key}` is no number"))
}

/// The number behind "wd" in the name of the optimiser.
fn weight_decay(case: &AuthorsCase) -> f64 {
    let optimiser = case.json["hyperparameters"]["optimiser"].as_str().unwrap();
    let stated = optimiser.strip_prefix("AdamW wd ").and_then(|rest| rest.split_whitespace().next()?.parse().ok());
    stated.unwrap_or_else(|| panic!("no weight decay of AdamW in `{optimiser}`"))
}

fn settings(case: &AuthorsCase) -> Config {
    let rate = |key: &str| number(case, "hyperparameters", key);
    let layer = shared_layers(case)[0];
    Config {
        lr_encoder: rate("lr"),
        lr_head: rate("lr"),
        lr_key: rate("key_lr"),
        lr_bias: rate("bias_lr"),
        weight_decay: weight_decay(case),
        head_dropout: number(case, "config", "dropout"),
        max_length: case.tensor(&format!("w.share.text_bias.{layer}")).dims()[1],
        visual: VisualSetting::Crops,
        shared_layers: shared_layers(case).len(),
        ..find("lmc-released").unwrap().config(Extraction::Relations)
    }
}

/// Whether a gradient is zero in exact arithmetic: a softmax does not see what is the same for all its keys.
fn noise_driven(case: &AuthorsCase, name: &str) -> bool {
    let part = |part: &str| name.split('.').any(|own| own == part);
    let shared = shared_layers(case).iter().any(|layer| part(&layer.to_string()));
    let key_bias = name.ends_with("self.key.bias") || name.ends_with("k_proj.bias");
    name.starts_with("share.key.") || key_bias || (shared && (part("query") || part("q_proj")))
}

/// Tasks one after another with one optimiser.
struct Stream<'a> {
    case: &'a AuthorsCase,
    learner: Learner,
    pool: Vec<Example>,
    anchors: Anchors,
    task_losses: Vec<f64>,
    penalties: Vec<f64>,
}

impl<'a> Stream<'a> {
    fn new(case: &'a AuthorsCase) -> Self {
        let config = settings(case);
        let learner =
            super::learner(Extraction::Relations, Architecture::Dual, lmc::shapes(case), case.size("classes"), &config);
        load(&learner, names::values(case, Extraction::Relations));
        let pool = lmc::pool(case, Extraction::Relations);
        let anchors = Anchors::new();
        let task_losses = vec![];
        let penalties = vec![];
        Self { case, learner, pool, anchors, task_losses, penalties }
    }

    /// Makes a batch of rows with their crops.
    fn batch(&self, numbers: &[usize]) -> Batch<'_> {
        let mut batch = Batch::new(chosen(&self.pool, numbers), 0, &Device::Cpu).unwrap();
        let places: Vec<u32> = numbers.iter().map(|number| *number as u32).collect();
        let places = Tensor::new(places, &Device::Cpu).unwrap();
        let crops = |name: &str| self.case.unblocked(&self.case.tensor(name).index_select(&places, 0).unwrap());
        batch.pixels = Some(Pixels::Crops { grounding: crops("in.aux"), detected: crops("in.rcnn") });
        batch
    }

    fn allowed(&self) -> Vec<bool> {
        vec![true; self.case.size("classes")]
    }

    fn run(mut self, errors: &mut Errors) {
        let case = self.case;
        let before = values(&self.learner.params().vars());
        let mut optimiser = self.learner.optimiser(&settings(case)).unwrap();
        let schedule: Vec<(usize, Vec<usize>)> = case.json["schedule"].as_array().unwrap().iter().map(step).collect();
        for task in 0..=schedule.iter().map(|(task, _)| *task).max().unwrap() {
            let steps: Vec<&Vec<usize>> =
                schedule.iter().filter(|(of, _)| *of == task).map(|(_, numbers)| numbers).collect();
            steps.iter().for_each(|numbers| self.step(&mut optimiser, numbers));
            let mut rows: Vec<usize> = steps.into_iter().flatten().copied().collect();
            rows.sort_unstable();
            rows.dedup();
            self.consolidate(&rows);
            self.compare_fisher(errors, task);
        }
        let expected = |name: &str| case.values(name).into_iter().map(f64::from).collect::<Vec<_>>();
        errors.values("traj.task_loss", &self.task_losses, &expected("traj.task_loss"), TRAJECTORY);
        errors.values("traj.ewc_loss", &self.penalties, &expected("traj.ewc_loss"), TRAJECTORY);
        self.compare_weights(errors, &before);
    }

    fn step(&mut self, optimiser: &mut AdamW, numbers: &[usize]) {
        let lambda = 2.0 * number(self.case, "hyperparameters", "gamma (weight of the penalty)");
        let mut objective = Penalised { anchors: &self.anchors, lambda };
        self.penalties.push(penalty(&self.learner, &mut objective));
        let batch = self.batch(numbers);
        let allowed = self.allowed();
        let mut mode = Mode::Eval;
        let loss = update(&self.learner, optimiser, &mut objective, &batch, &allowed, &mut mode, None).unwrap();
        self.task_losses.push(loss);
    }

    /// Fisher information of a task's rows in batches, the gradient of each added to those before.
    fn consolidate(&mut self, rows: &[usize]) {
        let size = integer(&self.case.json["hyperparameters"]["batch"], "batch");
        let batches = rows.chunks(size).map(|numbers| Ok(self.batch(numbers)));
        let count = size * batches.len();
        let mut running: BTreeMap<String, Tensor> = BTreeMap::new();
        let sums = squares(&self.learner, batches, &self.allowed(), |name, gradient| {
            let sum = match running.remove(name) {
                Some(sum) => (sum + gradient)?,
                None => gradient,
            };
            running.insert(name.to_owned(), sum.clone());
            Ok(sum)
        });
        let anchors = std::mem::take(&mut self.anchors);
        self.anchors = anchored(&self.learner, anchors, sums.unwrap(), (0.0, count)).unwrap();
    }

    fn compare_fisher(&self, errors: &mut Errors, task: usize) {
        let case = self.case;
        let fisher = |anchor: &crate::methods::ewc::Anchor| anchor.fisher.clone();
        let ours = self.anchors.iter().map(|(name, anchor)| (name.clone(), fisher(anchor))).collect();
        let prefix = format!("fisher.after_task{task}.");
        for (name, expected) in case.below(&prefix).filter(|(name, _)| *name != "norms" && !noise_driven(case, name)) {
            errors.tensor(
                &format!("{prefix}{name}"),
                &names::theirs(case, Extraction::Relations, name, &ours),
                expected,
                TRAJECTORY,
            );
        }
        self.compare_norms(errors, &format!("{prefix}norms"), "fisher.norms", |name| {
            norm([&names::theirs(case, Extraction::Relations, name, &ours)])
        });
    }

    fn compare_weights(&self, errors: &mut Errors, before: &BTreeMap<String, Tensor>) {
        let case = self.case;
        let after = values(&self.learner.params().vars());
        for (name, expected) in case.below("traj.final.") {
            let (name, expected) = names::stored(case, name, expected);
            if !noise_driven(case, name) {
                errors.tensor(
                    &format!("traj.final.{name}"),
                    &names::theirs(case, Extraction::Relations, name, &after),
                    &expected,
                    TRAJECTORY,
                );
            }
        }
        self.compare_norms(errors, "traj.norm", "traj.norm", |name| {
            norm([&names::theirs(case, Extraction::Relations, name, &after)])
        });
        self.compare_norms(errors, "traj.change", "traj.norm", |name| {
            norm([&(names::theirs(case, Extraction::Relations, name, &after)
                - names::theirs(case, Extraction::Relations, name, before))
            .unwrap()])
        });
    }

    /// A norm for each name of an order, those that rounding decides left out.
    fn compare_norms(&self, errors: &mut Errors, quantity: &str, order: &str, of: impl Fn(&str) -> f64) {
        listed(self.case, errors, (quantity, order), of, |name| noise_driven(self.case, name));
    }
}

fn step(step: &Value) -> (usize, Vec<usize>) {
    (integer(&step["task"], "task"), super::rows(&step["rows"]))
}

/// The penalty's value, (λ/2) Σ F (θ − θ*)², from the gradient λ F (θ − θ*) that it gives.
fn penalty(learner: &Learner, objective: &mut Penalised<'_>) -> f64 {
    let other = Var::new(&[0f32], &Device::Cpu).unwrap();
    let mut pulls = backward(&other.as_tensor().sum_all().unwrap()).unwrap();
    objective.adjust(learner, &mut pulls).unwrap();
    let of = |(name, var): (String, Var)| {
        let pull = pulls.get(var.as_tensor())?;
        let anchor = objective.anchors.get(&name)?;
        let moved = (var.as_tensor() - &anchor.value).unwrap();
        Some(f64::from((moved * pull).unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap()) / 2.0)
    };
    learner.params().vars().into_iter().filter_map(of).sum()
}
