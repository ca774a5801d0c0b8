//! MKGformer against tensors of its authors' code (zjunlp/MKGformer): forward pass, gradients, training steps.
//!
//! Set to what that code does and mkgc by default does not: vision attends to the padding of the text; for entities, the
//! CRF runs over all word pieces and their helper labels; for relations, the classifier is never trained (its rate is 0).

mod given;

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor};
use mkgc_builder::corpus::Extraction;
use mkgc_models::inputs::Pixels;
use mkgc_models::mode::Mode;
use mkgc_models::ops::{Ids, backward, composed};

use super::{AuthorsCase, Errors, FORWARD, GRADIENT, TRAJECTORY, each, learner, load, rows};
use crate::config::{Config, Schedule, VisualSetting};
use crate::data::{Batch, Example};
use crate::learner::{Architecture, Learner};
use crate::methods::registry::find;
use crate::methods::shared::schedule;
use crate::methods::shared::training::{TaskLoss, update};
use given::{head_rate, number, pool, renamed, shapes, weights};

/// Smallest relative difference of two gradients that differ in rounding alone by which rounding is said to decide them.
const NOISE: f64 = 1e-2;

#[test]
fn authors_mkgformer_re() {
    each("mkgformer-re", |case, errors| compare(case, Extraction::Relations, errors));
}

#[test]
fn authors_mkgformer_ner() {
    each("mkgformer-ner", |case, errors| compare(case, Extraction::Entities, errors));
}

/// A case with a network of the authors' weights and the rows of their pool.
struct Trial<'a> {
    case: &'a AuthorsCase,
    kind: Extraction,
    config: Config,
    learner: Learner,
    pool: Vec<Example>,
}

impl<'a> Trial<'a> {
    fn new(case: &'a AuthorsCase, kind: Extraction) -> Self {
        Self::of_layers(case, kind, case.size("layers_text"))
    }

    /// A network of the lowest layers: it ends in the states that the whole one has there.
    fn of_layers(case: &'a AuthorsCase, kind: Extraction, layers: usize) -> Self {
        let hyper = &case.json["hyperparameters"];
        let first = rows(&case.json["config"]["interacting_layers"])[0];
        let config = Config {
            lr_encoder: number(&hyper["lr"]),
            lr_head: head_rate(case),
            schedule: Schedule::Linear,
            warmup: number(&hyper["warmup_ratio"]),
            weight_decay: case.weight_decay(),
            clip_norm: 0.0,
            head_dropout: number(&case.json["config"]["dropout"]),
            visual: VisualSetting::Crops,
            interaction_layers: layers.saturating_sub(first),
            mask_text_padding: false,
            ..find("mkgformer").unwrap().config(kind)
        };
        let shapes = shapes(case, layers);
        let learner = learner(kind, Architecture::Mkgformer, shapes, case.size("classes"), &config);
        let mut values = weights(case);
        values.retain(|name, _| learner.params().vars().iter().any(|(own, _)| own == name));
        load(&learner, values);
        Self { case, kind, config, learner, pool: pool(case, kind) }
    }

    fn batch(&self, rows: &[usize]) -> Batch<'_> {
        let index = Tensor::new(rows.iter().map(|row| *row as u32).collect::<Vec<_>>(), &Device::Cpu).unwrap();
        let of_rows = |name: &str| self.case.tensor(name).index_select(&index, 0).unwrap();
        let whole = |name: &str| of_rows(name).to_dtype(DType::U32).unwrap();
        let mut batch = Batch::new(rows.iter().map(|row| &self.pool[*row]).collect(), 0, &Device::Cpu).unwrap();
        (batch.ids, batch.mask) = (Ids::read(&whole("in.ids")).unwrap(), whole("in.mask"));
        if self.kind == Extraction::Entities {
            let places = Tensor::arange(0, batch.ids.tensor().dim(1).unwrap() as u32, &Device::Cpu).unwrap();
            batch.anchors = places.broadcast_as(batch.mask.shape()).unwrap().contiguous().unwrap();
        }
        let crops = |name: &str| self.case.unblocked(&of_rows(name));
        batch.pixels = Some(Pixels::Crops { grounding: crops("in.aux"), detected: crops("in.rcnn") });
        batch
    }

    fn forward_rows(&self) -> Batch<'_> {
        self.batch(&rows(&self.case.json["config"]["forward_rows"]))
    }

    fn allowed(&self) -> Vec<bool> {
        vec![true; self.case.size("classes")]
    }

    /// Logits or emissions, and the loss.
    fn scored(&self, batch: &Batch<'_>) -> (Tensor, Tensor) {
        let scores = self.learner.scores(&self.learner.forward(batch, &mut Mode::Eval).unwrap().features).unwrap();
        let loss = self.learner.task_loss(&scores, batch, &self.allowed()).unwrap();
        (scores, loss)
    }

    /// What the authors call `name`, of values by our names.
    fn part(&self, name: &str, of: impl Fn(&str) -> Tensor) -> Tensor {
        let value = of(&renamed(name));
        let rows = |name: &str| self.case.tensor(&format!("w.model.vision_embeddings.{name}")).dim(0).unwrap();
        let aux = "aux_position_embedding.weight";
        let rcnn = "rcnn_position_embedding.weight";
        if name.ends_with(aux) {
            value.narrow(0, 0, rows(aux)).unwrap()
        } else if name.ends_with(rcnn) {
            value.narrow(0, rows(aux), rows(rcnn)).unwrap()
        } else {
            value
        }
    }

    fn noise_driven(&self, name: &str) -> bool {
        let noise = &self.case.json["noise_driven"];
        let lists = ["parameters_in_the_trajectory", "float32_gradient_relative_error_meaningless"];
        lists
            .iter()
            .filter_map(|list| noise[list].as_array())
            .flatten()
            .any(|own| own.as_str().is_some_and(|own| own.trim_start_matches("g.") == name))
    }

    /// Gradients of the loss of the forward rows by our names.
    fn gradients(&self) -> BTreeMap<String, Tensor> {
        let (_, loss) = self.scored(&self.forward_rows());
        let grads = backward(&loss).unwrap();
        let of = |var: &Tensor| grads.get(var).cloned().unwrap_or_else(|| var.zeros_like().unwrap());
        self.learner.params().vars().into_iter().map(|(name, var)| (name, of(var.as_tensor()))).collect()
    }

    /// Variables whose gradient rounding decides, e.g. the queries of a saturated softmax: candle's own operations, which
    /// round elsewhere, give another one. Adam takes full steps along it, so rounding decides what they move by as well.
    fn vanishing(&self) -> Vec<&str> {
        let (ours, composed) = (self.gradients(), composed(|| self.gradients()));
        let by_rounding = |name: &&str| {
            let [one, other] = [&ours, &composed].map(|grads| self.part(name, |name| grads[name].clone()));
            norm(&(&one - other).unwrap()) > NOISE * norm(&one)
        };
        self.case.order("g.norms").into_iter().filter(by_rounding).collect()
    }

    /// Norms in an order of the description, ours and theirs, without what rounding decides.
    fn norms(
        &self,
        names: &[&str],
        theirs: &str,
        without: &[&str],
        of: impl Fn(&str) -> Tensor,
    ) -> (Vec<f64>, Vec<f64>) {
        let decided = |name: &str| self.noise_driven(name) || without.contains(&name);
        let pairs = names.iter().zip(self.case.values(theirs)).filter(|(name, _)| !decided(name));
        pairs.map(|(name, theirs)| (norm(&self.part(name, &of)), f64::from(theirs))).unzip()
    }
}

fn norm(tensor: &Tensor) -> f64 {
    tensor.to_dtype(DType::F64).unwrap().sqr().unwrap().sum_all().unwrap().to_scalar::<f64>().unwrap().sqrt()
}

fn compare(case: &AuthorsCase, kind: Extraction, errors: &mut Errors) {
    let trial = Trial::new(case, kind);
    forward(&trial, errors);
    gradients(&trial, &trial.gradients(), errors);
    trajectory(&trial, errors);
}

fn forward(trial: &Trial<'_>, errors: &mut Errors) {
    let batch = trial.forward_rows();
    let (scores, loss) = trial.scored(&batch);
    for (name, theirs) in trial.case.below("out.") {
        let ours = match name {
            "text_state" => trial.learner.encoded(&batch, &mut Mode::Eval).unwrap().text,
            "logits" | "emissions" => scores.clone(),
            "loss" => loss.clone(),
            "decoded" => decoded(trial, &scores, &batch),
            _ => {
                let layer = name.strip_prefix("vision_state.").unwrap_or_else(|| panic!("`out.{name}` is not known"));
                let lowest = Trial::of_layers(trial.case, trial.kind, layer.parse::<usize>().unwrap() + 1);
                lowest.learner.encoded(&batch, &mut Mode::Eval).unwrap().vision.unwrap()
            }
        };
        errors.tensor(&format!("out.{name}"), &ours, theirs, FORWARD);
    }
}

/// Tags of the best paths, -1 beyond a sentence.
fn decoded(trial: &Trial<'_>, emissions: &Tensor, batch: &Batch<'_>) -> Tensor {
    let length = batch.ids.tensor().dim(1).unwrap();
    let paths = trial.learner.decide(emissions, batch, &trial.allowed()).unwrap();
    let row = |labels: Vec<u32>| labels.into_iter().map(|tag| tag as f32).chain(std::iter::repeat(-1.0)).take(length);
    let tags: Vec<f32> = paths.into_iter().flat_map(|path| row(path.labels)).collect();
    Tensor::from_vec(tags, batch.ids.tensor().shape(), &Device::Cpu).unwrap()
}

fn stored(trial: &Trial<'_>, name: &str, value: &Tensor) -> Tensor {
    if name.ends_with(".blocks") { trial.case.unblocked(value) } else { value.clone() }
}

fn gradients(trial: &Trial<'_>, grads: &BTreeMap<String, Tensor>, errors: &mut Errors) {
    let of = |name: &str| grads[name].clone();
    for (name, theirs) in trial.case.below("g.").filter(|(name, _)| *name != "norms" && !trial.noise_driven(name)) {
        errors.tensor(&format!("g.{name}"), &trial.part(name, of), &stored(trial, name, theirs), GRADIENT);
    }
    let (ours, theirs) = trial.norms(&trial.case.order("g.norms"), "g.norms", &[], of);
    errors.norms("g.norms", &ours, &theirs, GRADIENT);
}

/// The authors' training loop with our objective, groups, optimiser and schedule.
fn trajectory(trial: &Trial<'_>, errors: &mut Errors) {
    let case = trial.case;
    let learner = &trial.learner;
    let before = learner.params().tensors().unwrap();
    let mut optimiser = learner.optimiser(&trial.config).unwrap();
    let Some(steps) = case.json["order"]["traj.rows"].as_array() else {
        assert!(case.below("traj.").next().is_none(), "{}: a trajectory without the rows of its steps", case.name);
        return;
    };
    let groups = case.json["parameter_groups"].as_array().unwrap();
    let mut losses = Vec::new();
    let mut rates = Vec::new();
    for (step, numbers) in steps.iter().enumerate() {
        let batch = trial.batch(&rows(numbers));
        let factor = schedule::factor(&trial.config, step, steps.len());
        rates.extend(groups.iter().map(|group| number(&group["initial lr"]) * factor));
        optimiser.scale_rates(factor);
        let mode = &mut Mode::Eval;
        losses.push(update(learner, &mut optimiser, &mut TaskLoss, &batch, &trial.allowed(), mode, None).unwrap());
    }
    let theirs = |name: &str| -> Vec<f64> { case.values(name).into_iter().map(f64::from).collect() };
    errors.values("traj.losses", &losses, &theirs("traj.losses"), TRAJECTORY);
    errors.values("traj.lr", &rates, &theirs("traj.lr"), TRAJECTORY);
    let after = learner.params().tensors().unwrap();
    for (name, theirs) in case.below("traj.final.").filter(|(name, _)| !trial.noise_driven(name)) {
        let ours = trial.part(name, |name| after[name].clone());
        errors.tensor(&format!("traj.final.{name}"), &ours, &stored(trial, name, theirs), TRAJECTORY);
    }
    let names = case.order("traj.norm");
    let (ours, expected) = trial.norms(&names, "traj.norm", &[], |name| after[name].clone());
    errors.norms("traj.norm", &ours, &expected, TRAJECTORY);
    let whole = |ours: &[f64]| ours.iter().map(|norm| norm * norm).sum::<f64>().sqrt();
    errors.number("traj.norm_of_all_sound", whole(&ours), theirs("traj.norm_of_all_sound")[0], TRAJECTORY);
    let all: Vec<f64> = names.iter().map(|name| norm(&trial.part(name, |name| after[name].clone()))).collect();
    errors.number("traj.norm_of_all", whole(&all), theirs("traj.norm_of_all")[0], TRAJECTORY);
    let moved = |name: &str| (&after[name] - &before[name]).unwrap();
    let vanishing = trial.vanishing();
    let (ours, expected) = trial.norms(&names, "traj.change", &vanishing, moved);
    errors.norms("traj.change", &ours, &expected, TRAJECTORY);
    let (scores, loss) = trial.scored(&trial.forward_rows());
    for (name, theirs) in case.below("traj.final_") {
        let ours = if name == "loss" { &loss } else { &scores };
        errors.tensor(&format!("traj.final_{name}"), ours, theirs, TRAJECTORY);
    }
}
