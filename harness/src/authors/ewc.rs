//! EWC as zjunlp/ContinueMKGC codes it for relations, on the network of its LMC.
//!
//! What is switched to the authors' form, so that it is the only difference: Fisher information sums the squares of the
//! *running sum* of the gradients of batches and is divided by batch size × number of batches; it is replaced after each
//! task (γ = 0); the penalty has no ½ (λ is twice theirs).

use std::collections::BTreeMap;

use candle_core::{Device, Tensor, Var};
use mkgc_builder::corpus::TaskKind;
use mkgc_models::bert::BertConfig;
use mkgc_models::clip::ClipVisionConfig;
use mkgc_models::mode::Mode;
use mkgc_models::network::Pixels;
use mkgc_models::ops::backward;
use mkgc_models::optim::AdamW;
use serde_json::Value;

use super::bert::{all_compared, chosen, integers, listed, matrix, norm, values};
use super::{Case, Errors, TRAJECTORY, each, example, integer, load};
use crate::config::{Config, VisualSetting};
use crate::data::{Batch, Example};
use crate::learner::{Architecture, Learner};
use crate::methods::ewc::{Anchors, Penalised, anchored, squares};
use crate::methods::phases::{Objective, update};

#[test]
fn authors_ewc_re() {
    each("ewc-re", |case, errors| {
        Stream::new(case).run(errors);
        all_compared(case, errors, |name| {
            name.splitn(3, '.').nth(2).is_some_and(|parameter| noise_driven(case, parameter))
        });
    });
}

fn number(case: &Case, part: &str, key: &str) -> f64 {
    case.json[part][key].as_f64().unwrap_or_else(|| panic!("`{key}` is no number"))
}

fn shared_layers(case: &Case) -> Vec<usize> {
    super::rows(&case.json["config"]["shared_layers"])
}

fn settings(case: &Case) -> Config {
    let rate = |key: &str| number(case, "hyperparameters", key);
    let layer = shared_layers(case)[0];
    Config {
        lr_encoder: rate("lr"),
        lr_head: rate("lr"),
        lr_key: rate("key_lr"),
        lr_bias: rate("bias_lr"),
        head_dropout: number(case, "config", "dropout"),
        max_length: case.tensor(&format!("w.share.text_bias.{layer}")).dims()[1],
        visual: VisualSetting::Crops,
        shared_layers: shared_layers(case).len(),
        ..Config::default_for(TaskKind::Re, "lmc-released")
    }
}

fn learner(case: &Case, config: &Config) -> Learner {
    let activation = |key: &str| case.json["config"][key].as_str().unwrap().split(' ').next().unwrap().to_owned();
    let dropout = number(case, "config", "dropout");
    let text = BertConfig {
        vocab_size: case.size("vocab"),
        hidden_size: case.size("hidden"),
        num_hidden_layers: case.size("layers_text"),
        num_attention_heads: case.size("heads"),
        intermediate_size: case.size("text_intermediate"),
        hidden_act: activation("text_act"),
        hidden_dropout_prob: dropout,
        attention_probs_dropout_prob: dropout,
        max_position_embeddings: case.size("max_position_embeddings"),
        layer_norm_eps: number(case, "config", "text_layer_norm_eps"),
        ..BertConfig::default()
    };
    let vision = ClipVisionConfig {
        hidden_size: case.size("hidden"),
        intermediate_size: case.size("vision_intermediate"),
        num_hidden_layers: case.size("layers_vision"),
        num_attention_heads: case.size("heads"),
        patch_size: case.size("patch"),
        hidden_act: activation("vision_act"),
        layer_norm_eps: number(case, "config", "vision_layer_norm_eps"),
        attention_dropout: dropout,
        ..ClipVisionConfig::default()
    };
    super::learner(TaskKind::Re, Architecture::Dual, (text, Some(vision)), case.size("classes"), config)
}

/// Beginnings of the authors' names and of ours.
const BEGINNINGS: [(&str, &str); 10] = [
    ("model.text_embeddings.", "embeddings."),
    ("model.encoder.text_layer.", "encoder.layer."),
    ("model.vision_embeddings.", "vision_model.embeddings."),
    ("model.vision_pre_layrnorm.", "vision_model.pre_layrnorm."),
    ("model.vision_post_layernorm.", "vision_model.post_layernorm."),
    ("model.encoder.vision_layers.", "vision_model.encoder.layers."),
    ("model.cat_classifier.dense.", "head.classifier."),
    ("share.key.", "shared.key."),
    ("share.text_bias.", "text.position_bias."),
    ("share.vision_bias.", "vision.position_bias."),
];

/// The variable that holds the positions of the patches of both kinds of crops.
const POSITIONS: &str = "vision.crop_positions.weight";

/// Our name of a variable.
fn name(theirs: &str) -> String {
    let renamed = |(begins, ours): (&str, &str)| Some(format!("{ours}{}", theirs.strip_prefix(begins)?));
    BEGINNINGS.into_iter().find_map(renamed).unwrap_or_else(|| panic!("`{theirs}` is no name of a variable"))
}

/// Which of the crops a table of positions is for: the grounding crops come first.
fn crops(theirs: &str) -> Option<bool> {
    let (_, kind) = theirs.split_once("vision_embeddings.")?;
    Some(kind.strip_suffix("_position_embedding.weight")? == "aux")
}

/// `[text | vision]` for `[vision | text]`, and the other way round.
fn halves_swapped(weight: &Tensor) -> Tensor {
    let halves = weight.chunk(2, 1).unwrap();
    Tensor::cat(&[&halves[1], &halves[0]], 1).unwrap()
}

/// The authors' weights by our names. A table of crop positions may begin with the class token, which has none.
fn weights(case: &Case, learner: &Learner) -> BTreeMap<String, Tensor> {
    let vars: BTreeMap<String, Var> = learner.params().vars().into_iter().collect();
    let mut ours = BTreeMap::new();
    for (theirs, tensor) in case.below("w.").filter(|(theirs, _)| crops(theirs).is_none()) {
        let (theirs, tensor) = match theirs.strip_suffix(".blocks") {
            Some(theirs) => (theirs, case.unblocked(tensor)),
            None => (theirs, tensor.clone()),
        };
        let own = name(theirs);
        let tensor = if own == "head.classifier.weight" { halves_swapped(&tensor) } else { tensor };
        // A variable that only the authors' network has is left out.
        if let Some(var) = vars.get(&own) {
            ours.insert(own, tensor.reshape(var.shape()).unwrap());
        }
    }
    let of_crops = |kind| case.tensor(&format!("w.model.vision_embeddings.{kind}_position_embedding.weight")).clone();
    let mut positions = vec![of_crops("aux"), of_crops("rcnn")];
    let rows: usize = positions.iter().map(|table| table.dims()[0]).sum();
    if vars[POSITIONS].dims()[0] > rows {
        positions.insert(0, positions[0].narrow(0, 0, 1).unwrap().zeros_like().unwrap());
    }
    ours.insert(POSITIONS.to_owned(), Tensor::cat(&positions, 0).unwrap());
    ours
}

/// One of the authors' tensors from values by our names.
fn theirs(case: &Case, values: &BTreeMap<String, Tensor>, theirs: &str) -> Tensor {
    let Some(grounding) = crops(theirs) else {
        let tensor = &values[&name(theirs)];
        return if name(theirs) == "head.classifier.weight" { halves_swapped(tensor) } else { tensor.clone() };
    };
    let rows = |kind| case.tensor(&format!("w.model.vision_embeddings.{kind}_position_embedding.weight")).dims()[0];
    let (table, aux, rcnn) = (&values[POSITIONS], rows("aux"), rows("rcnn"));
    let start = table.dims()[0] - aux - rcnn;
    let (start, rows) = if grounding { (start, aux) } else { (start + aux, rcnn) };
    table.narrow(0, start, rows).unwrap()
}

/// Whether a gradient is zero in exact arithmetic: a softmax does not see what is the same for all its keys.
fn noise_driven(case: &Case, name: &str) -> bool {
    let part = |part: &str| name.split('.').any(|own| own == part);
    let shared = shared_layers(case).iter().any(|layer| part(&layer.to_string()));
    let key_bias = name.ends_with("self.key.bias") || name.ends_with("k_proj.bias");
    name.starts_with("share.key.") || key_bias || (shared && (part("query") || part("q_proj")))
}

/// Tasks one after another with one optimiser.
struct Stream<'a> {
    case: &'a Case,
    learner: Learner,
    pool: Vec<Example>,
    anchors: Anchors,
    task_losses: Vec<f64>,
    penalties: Vec<f64>,
}

impl<'a> Stream<'a> {
    fn new(case: &'a Case) -> Self {
        let config = settings(case);
        let learner = learner(case, &config);
        load(&learner, weights(case, &learner));
        let (ids, mask) = (matrix(case, "in.ids"), matrix(case, "in.mask"));
        let labels = integers(case, "in.labels");
        let row = |number: usize| {
            let real = mask[number].iter().filter(|on| **on == 1).count();
            example(number, ids[number][..real].to_vec(), vec![0, 0], vec![labels[number]])
        };
        let pool = (0..ids.len()).map(row).collect();
        let (anchors, task_losses, penalties) = (Anchors::new(), vec![], vec![]);
        Self { case, learner, pool, anchors, task_losses, penalties }
    }

    /// Rows with their crops.
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
        let (batch, allowed, mut mode) = (self.batch(numbers), self.allowed(), Mode::Eval);
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
            errors.tensor(&format!("{prefix}{name}"), &theirs(case, &ours, name), expected, TRAJECTORY);
        }
        self.compare_norms(errors, &format!("{prefix}norms"), "fisher.norms", |name| {
            norm([&theirs(case, &ours, name)])
        });
    }

    fn compare_weights(&self, errors: &mut Errors, before: &BTreeMap<String, Tensor>) {
        let case = self.case;
        let after = values(&self.learner.params().vars());
        for (name, expected) in case.below("traj.final.") {
            let (name, expected) = match name.strip_suffix(".blocks") {
                Some(name) => (name, case.unblocked(expected)),
                None => (name, expected.clone()),
            };
            if !noise_driven(case, name) {
                errors.tensor(&format!("traj.final.{name}"), &theirs(case, &after, name), &expected, TRAJECTORY);
            }
        }
        self.compare_norms(errors, "traj.norm", "traj.norm", |name| norm([&theirs(case, &after, name)]));
        self.compare_norms(errors, "traj.change", "traj.norm", |name| {
            norm([&(theirs(case, &after, name) - theirs(case, before, name)).unwrap()])
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
        let (pull, anchor) = (pulls.get(var.as_tensor())?, objective.anchors.get(&name)?);
        let moved = (var.as_tensor() - &anchor.value).unwrap();
        Some(f64::from((moved * pull).unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap()) / 2.0)
    };
    learner.params().vars().into_iter().filter_map(of).sum()
}
