//! RP-CRE: its memory network, encoder block and functions as fd2014cl/RP-CRE publishes them, and the masked encoder of
//! Wangpeiyi9979/ACA.
//!
//! `select.rows` is not compared: scikit-learn's k-means draws its first centroids from NumPy's generator, and rows of
//! random features have many local optima. That each centroid stores the row nearest to it is tested in
//! `methods::kmeans`.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor, Var};
use mkgc_models::mode::Mode;
use mkgc_models::ops::backward;

use super::bert::{
    NormsBeforeClipping, all_compared, batch, chosen, compare, dictionary, encoder_name, ended, gradients, integers,
    learner, matrix, noise_driven, row, rows, set, settings, stated, unpadded, values,
};
use super::{AuthorsCase, Errors, FORWARD, GRADIENT, TRAJECTORY, each, example, load};
use crate::config::Config;
use crate::data::{Batch, Example};
use crate::error::Result;
use crate::learner::Learner;
use crate::methods::rp_cre::Refiner;
use crate::methods::shared::prototypes::{Prototypes, features};
use crate::methods::shared::training::{Objective, TaskLoss, update};

/// Modules of the authors' memory network, `kv_projector` apart, and ours.
const MODULES: [(&str, &str); 9] = [
    ("q_projector", "query"),
    ("q_layernorm", "query_norm"),
    ("k_layernorm", "key_norm"),
    ("v_layernorm", "value_norm"),
    ("concatnate_mlp", "output"),
    ("concatnate_layernorm", "inner_norm"),
    ("attention_output_layernorm", "attention_norm"),
    ("output_mlp", "dense"),
    ("output_layernorm", "output_norm"),
];

#[test]
fn authors_rp_cre() {
    each("rp-cre", |case, errors| {
        memory_network(case, errors);
        encoder(case, errors);
        prototypes(case, errors);
        let named = case.tensors.keys().filter_map(|name| name.strip_suffix(".losses"));
        for prefix in named.filter(|prefix| !prefix.starts_with("f32.")) {
            trajectory(case, errors, prefix);
        }
        all_compared(case, errors, |name| noise_driven(name) || name == "select.rows");
    });
}

/// One of the authors' tensors, named as `memory.`, `classifier.` or `encoder.` and so on, from values by our names.
fn theirs(values: &BTreeMap<String, Tensor>, name: &str) -> Tensor {
    let of = |name: &str| values.get(name).unwrap_or_else(|| panic!("no `{name}`")).clone();
    let Some((module, parameter)) = name.strip_prefix("memory.").and_then(|name| name.split_once('.')) else {
        let encoder = name.strip_prefix("encoder.");
        return of(&encoder.map_or_else(|| "head.classifier.weight".to_owned(), encoder_name));
    };
    if module != "kv_projector" {
        let (_, ours) = MODULES.into_iter().find(|(theirs, _)| *theirs == module).unwrap();
        return of(&format!("memory_network.{ours}.{parameter}"));
    }
    let heads = of("memory_network.key_norm.weight").dims()[0];
    let by_head = |ours: &str| {
        let tensor = of(&format!("memory_network.{ours}.{parameter}"));
        let rest = tensor.dims()[1..].to_vec();
        tensor.reshape([vec![heads, tensor.dims()[0] / heads], rest].concat()).unwrap()
    };
    Tensor::cat(&[by_head("key"), by_head("value")], 1).unwrap().flatten(0, 1).unwrap()
}

/// The values of our memory network's variables from the authors', whose names begin with `prefix`.
fn memory_values(case: &AuthorsCase, prefix: &str) -> BTreeMap<String, Tensor> {
    let mut ours = BTreeMap::new();
    let size = case.size("key");
    for (name, tensor) in case.below(&format!("{prefix}memory.")) {
        let (module, parameter) = name.split_once('.').unwrap();
        if let Some((_, own)) = MODULES.into_iter().find(|(theirs, _)| *theirs == module) {
            ours.insert(format!("memory_network.{own}.{parameter}"), tensor.clone());
            continue;
        }
        assert_eq!(module, "kv_projector", "unknown module");
        let heads = case.tensor(&format!("{prefix}memory.k_layernorm.weight")).dims()[0];
        let rows = tensor.dims()[0] / heads;
        let by_head = tensor.reshape([vec![heads, rows], tensor.dims()[1..].to_vec()].concat()).unwrap();
        for (own, start, size) in [("key", 0, size), ("value", size, rows - size)] {
            let part = by_head.narrow(1, start, size).unwrap().contiguous().unwrap().flatten(0, 1).unwrap();
            ours.insert(format!("memory_network.{own}.{parameter}"), part);
        }
    }
    ours
}

fn config(case: &AuthorsCase) -> Config {
    let lr_memory_network = stated(case, "memory network ");
    Config { key_size: case.size("key"), lr_memory_network, ..settings(case, "rp-cre", "classifier ") }
}

/// A network with the encoder of `w.encoder.` and a classifier.
fn network(case: &AuthorsCase, classifier: &str) -> Learner {
    let learner = learner(case, &config(case));
    let mut values: BTreeMap<String, Tensor> =
        case.below("w.encoder.").map(|(name, tensor)| (encoder_name(name), tensor.clone())).collect();
    values.insert("head.classifier.weight".to_owned(), case.tensor(classifier).clone());
    load(&learner, values);
    learner
}

/// A memory network over `in.prototypes`.
fn refiner(case: &AuthorsCase, prefix: &str) -> Refiner {
    let vectors = case.tensor("in.prototypes").clone();
    let count = vectors.dims()[0];
    let prototypes = Prototypes { classes: (0..count as u32).collect(), vectors, items: vec![1; count] };
    let refiner = Refiner::new(prototypes, &config(case), 0).unwrap();
    refiner.store.load(&memory_values(case, prefix)).unwrap();
    refiner
}

fn all_allowed(case: &AuthorsCase) -> Vec<bool> {
    vec![true; case.size("N")]
}

fn memory_network(case: &AuthorsCase, errors: &mut Errors) {
    let (learner, refiner) = (network(case, "w.classifier.fc.weight"), refiner(case, "w."));
    let x = Var::from_tensor(case.tensor("in.x")).unwrap();
    let labels = integers(case, "in.y");
    let rows: Vec<Example> = labels.iter().map(|label| example(0, vec![0], vec![0, 0], vec![*label])).collect();
    let refined = refiner.refined(x.as_tensor()).unwrap();
    let scores = refiner.scores(&learner, x.as_tensor()).unwrap();
    let loss = refiner
        .of_features(&learner, x.as_tensor(), &batch(&rows.iter().collect::<Vec<_>>()), &all_allowed(case))
        .unwrap();
    compare(case, errors, "mem.refined", &refined, FORWARD);
    compare(case, errors, "mem.all_rows", &all_rows(case), FORWARD);
    compare(case, errors, "mem.logits", &scores, FORWARD);
    compare(case, errors, "mem.loss", &loss, FORWARD);
    let grads = backward(&loss).unwrap();
    let ours = gradients(&[refiner.store.vars(), learner.params().vars()].concat(), &grads);
    let of_loss = |name: &str| name.starts_with("memory.") || name.starts_with("classifier.");
    for (name, _) in case.below("g.").filter(|(name, _)| of_loss(name) && !noise_driven(name)) {
        compare(case, errors, &format!("g.{name}"), &theirs(&ours, name), GRADIENT);
    }
    compare(case, errors, "g.mem.x", grads.get(x.as_tensor()).unwrap(), GRADIENT);
}

/// Every row of the sequence refined, not the last one alone: a row that asks does not care for the order of the others,
/// so each is in turn the feature beside the rest.
fn all_rows(case: &AuthorsCase) -> Tensor {
    let (x, vectors) = (case.tensor("in.x"), case.tensor("in.prototypes"));
    let count = vectors.dims()[0];
    let refined = |feature: usize| {
        let sequence = Tensor::cat(&[vectors, &x.narrow(0, feature, 1).unwrap()], 0).unwrap();
        let row = |asking: usize| {
            let others: Vec<u32> = (0..=count as u32).filter(|row| *row as usize != asking).collect();
            let vectors = sequence.index_select(&Tensor::new(others, &Device::Cpu).unwrap(), 0).unwrap();
            let prototypes = Prototypes { classes: (0..count as u32).collect(), vectors, items: vec![1; count] };
            let refiner = Refiner::new(prototypes, &config(case), 0).unwrap();
            refiner.store.load(&memory_values(case, "w.")).unwrap();
            refiner.refined(&sequence.narrow(0, asking, 1).unwrap()).unwrap()
        };
        Tensor::cat(&(0..=count).map(row).collect::<Vec<_>>(), 0).unwrap()
    };
    Tensor::stack(&(0..x.dims()[0]).map(refined).collect::<Vec<_>>(), 0).unwrap()
}

/// The encoder block: without padding, with padding attended (fd2014cl; pieces like any other here), with padding masked
/// (ACA, and this project).
fn encoder(case: &AuthorsCase, errors: &mut Errors) {
    let padded = |real: fn(&[u32]) -> &[u32]| -> Vec<Example> {
        let tokens = matrix(case, "in.padded");
        tokens.iter().enumerate().map(|(n, tokens)| row(case, n, real(tokens), 0)).collect()
    };
    features_of(case, errors, "enc.features", &rows(case), Some("encoder."));
    features_of(case, errors, "enc.padded_fd", &padded(|tokens| tokens), None);
    features_of(case, errors, "enc.padded_aca", &padded(unpadded), Some("aca."));
}

/// Features of the first rows, as many as are stored, and gradients `g.PREFIX*` of their product with `in.pull`.
fn features_of(case: &AuthorsCase, errors: &mut Errors, quantity: &str, rows: &[Example], prefix: Option<&str>) {
    let Some(count) = case.tensors.get(quantity).map(|expected| expected.dims()[0]) else { return };
    let learner = network(case, "w.classifier.fc.weight");
    let batch = batch(&rows[..count].iter().collect::<Vec<_>>());
    let features = learner.forward(&batch, &mut Mode::Eval).unwrap().features;
    compare(case, errors, quantity, &features, FORWARD);
    let pull = case.tensor("in.pull").narrow(0, 0, count).unwrap();
    let grads = backward(&(features * pull).unwrap().sum_all().unwrap()).unwrap();
    let ours = gradients(&learner.params().vars(), &grads);
    let prefix = prefix.map(|prefix| format!("g.{prefix}"));
    for (name, _) in prefix.iter().flat_map(|prefix| case.below(prefix)).filter(|(name, _)| !noise_driven(name)) {
        let quantity = format!("{}{name}", prefix.as_deref().unwrap_or_default());
        compare(case, errors, &quantity, &ours[&encoder_name(name)], GRADIENT);
    }
}

/// Means of features by class; which rows are whose stands in the description's text.
fn prototypes(case: &AuthorsCase, errors: &mut Errors) {
    let learner = network(case, "w.classifier.fc.weight");
    let pool = rows(case);
    let members = dictionary(case.json["how_to_read"]["proto.prototypes"].as_str().unwrap());
    let of_class = |(class, numbers): (&String, &serde_json::Value)| {
        let own = super::rows(numbers).into_iter().map(|number| pool[number].clone());
        let label: u32 = class.parse().unwrap();
        own.map(move |row| Example { gold: vec![label], ..row }).collect::<Vec<_>>()
    };
    let members = members.as_object().unwrap();
    let rows: Vec<Example> = members.iter().flat_map(of_class).collect();
    let by_class = features(&learner, &rows.iter().collect::<Vec<_>>()).unwrap();
    let prototypes = Prototypes::from_features(by_class).unwrap().unwrap();
    let place = |class: &String| prototypes.index_of(class.parse().unwrap()).unwrap() as u32;
    let order = Tensor::new(members.keys().map(place).collect::<Vec<_>>(), &Device::Cpu).unwrap();
    compare(case, errors, "proto.prototypes", &prototypes.vectors.index_select(&order, 0).unwrap(), FORWARD);
}

/// The memory network on features that are given.
struct OnFeatures<'a> {
    refiner: &'a Refiner,
    features: &'a Tensor,
}

impl OnFeatures<'_> {
    fn of(&self, batch: &Batch) -> Tensor {
        let numbers: Vec<u32> = batch.examples.iter().map(|row| row.id.parse().unwrap()).collect();
        self.features.index_select(&Tensor::new(numbers, &Device::Cpu).unwrap(), 0).unwrap()
    }
}

impl Objective for OnFeatures<'_> {
    fn loss(&mut self, learner: &Learner, batch: &Batch, allowed: &[bool], _: &mut Mode<'_>) -> Result<Tensor> {
        self.refiner.of_features(learner, &self.of(batch), batch, allowed)
    }
}

/// A trajectory. `traj…`: the memory network and the classifier on given features; `full`: with the encoder; `init`: the
/// encoder and the classifier alone. Where the name says `clip`, the authors' limit is active; elsewhere theirs is never
/// reached.
struct Trajectory<'a> {
    case: &'a AuthorsCase,
    prefix: &'a str,
    learner: Learner,
    refiner: Refiner,
    pool: Vec<Example>,
}

fn trajectory(case: &AuthorsCase, errors: &mut Errors, prefix: &str) {
    let own_start = format!("{prefix}.start.classifier.fc.weight");
    let start =
        if case.tensors.contains_key(&own_start) { own_start } else { "traj.start.classifier.fc.weight".into() };
    let (learner, refiner, pool) = (network(case, &start), refiner(case, "traj.start."), rows(case));
    let trajectory = Trajectory { case, prefix, learner, refiner, pool };
    let before = values(&trajectory.vars());
    let (losses, norms) = trajectory.run();
    trajectory.compare_steps(errors, &losses, &norms);
    let listed = |quantity: &str| {
        let names = format!("{prefix}.{quantity}norm");
        case.tensors.contains_key(&names).then(|| (names, quantity.to_owned()))
    };
    let order: Vec<_> = ["", "encoder_"].into_iter().filter_map(listed).collect();
    ended(case, errors, prefix, &order, (&before, &values(&trajectory.vars())), theirs);
}

impl Trajectory<'_> {
    fn vars(&self) -> Vec<(String, Var)> {
        [self.learner.params().vars(), self.refiner.store.vars()].concat()
    }

    fn on_features(&self) -> OnFeatures<'_> {
        OnFeatures { refiner: &self.refiner, features: self.case.tensor("in.features") }
    }

    /// The rows of every step: those listed, else the pool in its order.
    fn schedule(&self) -> Vec<Vec<usize>> {
        let own = format!("{}.rows", self.prefix);
        let named = [own.as_str(), if self.prefix.starts_with("traj") { "traj.rows" } else { "" }];
        if let Some(listed) = named.iter().find_map(|name| self.case.json["order"][*name].as_array()) {
            return listed.iter().map(super::rows).collect();
        }
        let all: Vec<usize> = (0..self.pool.len()).collect();
        let steps = self.case.values(&format!("{}.losses", self.prefix)).len();
        all.chunks(self.case.size("bs")).map(<[usize]>::to_vec).cycle().take(steps).collect()
    }

    /// Loss and gradient norms (encoder, classifier, memory network) of every step.
    fn run(&self) -> (Vec<f64>, Vec<Vec<f64>>) {
        let (learner, config) = (&self.learner, config(self.case));
        let mut optimiser = match self.prefix {
            "init" => learner.optimiser(&config).unwrap(),
            _ => self.refiner.optimiser(learner, &config).unwrap(),
        };
        let clip = self.prefix.contains("clip").then(|| self.case.json["config"]["clip"].as_f64().unwrap());
        let (vars, allowed) = (self.vars(), all_allowed(self.case));
        let classifier = |name: &str| name == "head.classifier.weight";
        let memory = |name: &str| name.starts_with("memory_network.");
        let sets = [set(&vars, |name| !classifier(name) && !memory(name)), set(&vars, classifier), set(&vars, memory)];
        let (mut plain, mut whole, mut on_features) = (TaskLoss, &self.refiner, self.on_features());
        let objective: &mut dyn Objective = match self.prefix {
            "init" => &mut plain,
            "full" => &mut whole,
            _ => &mut on_features,
        };
        let step = |numbers: Vec<usize>| {
            let mut watched = NormsBeforeClipping::new(&mut *objective, &sets);
            let batch = batch(&chosen(&self.pool, &numbers));
            let mode = &mut Mode::Eval;
            let loss = update(learner, &mut optimiser, &mut watched, &batch, &allowed, mode, clip).unwrap();
            (loss, watched.norms)
        };
        self.schedule().into_iter().map(step).unzip()
    }

    fn compare_steps(&self, errors: &mut Errors, losses: &[f64], norms: &[Vec<f64>]) {
        let named = |quantity: &str| {
            let name = format!("{}.{quantity}", self.prefix);
            self.case.tensors.get(&name).map(|theirs| (name, theirs))
        };
        let wide = |theirs: &Tensor| theirs.flatten_all().unwrap().to_dtype(DType::F64).unwrap().to_vec1().unwrap();
        if let Some((name, theirs)) = named("losses") {
            errors.values(&name, losses, &wide(theirs), TRAJECTORY);
        }
        if let Some((name, theirs)) = named("grad_norms") {
            let ours: Vec<f64> = norms.iter().flat_map(|norms| norms[..theirs.dims()[1]].to_vec()).collect();
            errors.values(&name, &ours, &wide(theirs), TRAJECTORY);
        }
        if let Some((name, theirs)) = named("final_logits") {
            let batch = batch(&self.pool[..theirs.dims()[0]].iter().collect::<Vec<_>>());
            let scores = self.refiner.scores(&self.learner, &self.on_features().of(&batch)).unwrap();
            compare(self.case, errors, &name, &scores, TRAJECTORY);
        }
    }
}
