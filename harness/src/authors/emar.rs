//! EMAR-BERT: the losses, prototypes and two rounds of Wangpeiyi9979/ACA.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor, Var};
use mkgc_builder::corpus::Extraction;
use mkgc_models::mode::Mode;
use mkgc_models::ops::backward;

use super::bert::{
    NormsBeforeClipping, all_compared, batch, chosen, compare, encoder_name, ended, index, integers, learner,
    noise_driven, norm, range, rows, set, settings, stated, values,
};
use super::{AuthorsCase, Errors, FORWARD, GRADIENT, TRAJECTORY, each, example, integer, load};
use crate::config::Config;
use crate::data::Example;
use crate::learner::Learner;
use crate::methods::emar::{Reconsolidation, evaluation_prototypes, mean_of_units};
use crate::methods::shared::prototypes::{Prototypes, features, normalised, similarities};
use crate::methods::shared::training::{Objective, TaskLoss, update};

#[test]
fn authors_emar_bert() {
    each("emar-bert", |case, errors| {
        fixed(case, errors);
        fixed_prototypes(case, errors);
        bert(case, errors);
        let rounds = Rounds::new(case);
        rounds.run(errors);
        rounds.evaluation(errors);
        all_compared(case, errors, noise_driven);
    });
}

/// Our name of a variable.
fn name(theirs: &str) -> String {
    let encoder = theirs.strip_prefix("sentence_encoder.");
    encoder.map_or_else(|| "head.classifier.weight".to_owned(), encoder_name)
}

/// One of the authors' tensors from values by our names.
fn theirs(values: &BTreeMap<String, Tensor>, theirs: &str) -> Tensor {
    values[&name(theirs)].clone()
}

/// A network with the start weights, and a classifier.
fn network(case: &AuthorsCase, classifier: &str) -> Learner {
    let learner = learner(case, &settings(case, "emar-bert", "fc "));
    let mut values: BTreeMap<String, Tensor> =
        case.below("w.").map(|(theirs, tensor)| (name(theirs), tensor.clone())).collect();
    values.insert("head.classifier.weight".to_owned(), case.tensor(classifier).clone());
    load(&learner, values);
    learner
}

/// Classes in the authors' order.
fn seen(case: &AuthorsCase) -> Vec<u32> {
    super::rows(&case.json["config"]["seen"]).into_iter().map(|class| class as u32).collect()
}

/// Rows of a tensor in the authors' order of classes, ours being that of labels.
fn by_label(case: &AuthorsCase, vectors: &Tensor) -> Prototypes {
    let mut order: Vec<(u32, u32)> = seen(case).into_iter().zip(0..).collect();
    order.sort_unstable();
    let (classes, places): (Vec<u32>, Vec<u32>) = order.into_iter().unzip();
    let items = vec![1; classes.len()];
    let vectors = vectors.index_select(&Tensor::new(places, &Device::Cpu).unwrap(), 0).unwrap();
    Prototypes { classes, vectors, items }
}

/// The rows of `vectors` for the classes seen, in the authors' order; `places` of labels among the rows.
fn in_their_order(case: &AuthorsCase, vectors: &Tensor, place: impl Fn(u32) -> u32) -> Tensor {
    let places: Vec<u32> = seen(case).into_iter().map(place).collect();
    vectors.contiguous().unwrap().index_select(&Tensor::new(places, &Device::Cpu).unwrap(), 0).unwrap()
}

/// Both losses of features that are given.
fn fixed(case: &AuthorsCase, errors: &mut Errors) {
    let learner = network(case, "in.fc");
    let labels = integers(case, "in.feature_labels");
    let rows: Vec<Example> = labels.iter().map(|label| example(0, vec![0], vec![0, 0], vec![*label])).collect();
    let batch = batch(&rows.iter().collect::<Vec<_>>());
    let x = Var::from_tensor(case.tensor("in.features")).unwrap();
    let scores = learner.scores(x.as_tensor()).unwrap();
    let loss = learner.task_loss(&scores, &batch, &vec![true; case.size("N")]).unwrap();
    compare(case, errors, "fixed.activation_logits", &scores, FORWARD);
    compare(case, errors, "fixed.activation_loss", &loss, FORWARD);
    let grads = backward(&loss).unwrap();
    let of_classifier = &set(&learner.params().vars(), |name| name == "head.classifier.weight")[0];
    let activation = [("g.activation.features", &x), ("g.activation.fc", of_classifier)];
    for (quantity, var) in activation {
        compare(case, errors, quantity, grads.get(var.as_tensor()).unwrap(), GRADIENT);
    }

    let given = case.tensor("in.prototypes");
    let products = similarities(x.as_tensor(), given).unwrap();
    compare(case, errors, "fixed.reconsolidation_logits", &products, FORWARD);
    let reconsolidation = Reconsolidation { prototypes: by_label(case, given) };
    let loss = reconsolidation.of_features(Extraction::Relations, x.as_tensor(), &batch).unwrap();
    compare(case, errors, "fixed.reconsolidation_loss", &loss, FORWARD);
    let grads = backward(&loss).unwrap();
    compare(case, errors, "g.reconsolidation.features", grads.get(x.as_tensor()).unwrap(), GRADIENT);
    assert!(grads.get(of_classifier.as_tensor()).is_none(), "reconsolidation trains no classifier");
}

/// Both kinds of prototypes of features that are given; of which features stands in the description's text.
fn fixed_prototypes(case: &AuthorsCase, errors: &mut Errors) {
    let text = case.json["how_to_read"]["fixed.train_prototype"].as_str().unwrap();
    let members: Vec<u32> = range(index(text, "in.features[")).into_iter().map(|row| row as u32).collect();
    let class: usize = index(text, "in.fc[").parse().unwrap();
    let features = case.tensor("in.features").index_select(&Tensor::new(members, &Device::Cpu).unwrap(), 0).unwrap();
    let classifier = case.tensor("in.fc").narrow(0, class, 1).unwrap();
    let means = Prototypes::from_features([(class as u32, features.clone())].into()).unwrap().unwrap();
    compare(case, errors, "fixed.train_prototype", &means.vectors, FORWARD);
    let direction = mean_of_units(Some(&features), &classifier).unwrap();
    compare(case, errors, "fixed.eval_prototype_before_last_norm", &direction, FORWARD);
    let evaluation = normalised(&direction).unwrap();
    compare(case, errors, "fixed.eval_prototype", &evaluation, FORWARD);
}

fn bert(case: &AuthorsCase, errors: &mut Errors) {
    let learner = network(case, "w.fc.weight");
    let rows = rows(case);
    let expected = case.tensor("bert.features");
    let batch = batch(&rows[..expected.dims()[0]].iter().collect::<Vec<_>>());
    let features = learner.forward(&batch, &mut Mode::Eval).unwrap().features;
    errors.tensor("bert.features", &features, expected, FORWARD);
    compare(case, errors, "bert.logits", &learner.scores(&features).unwrap(), FORWARD);
}

/// The two rounds, then prediction.
struct Rounds<'a> {
    case: &'a AuthorsCase,
    config: Config,
    learner: Learner,
    pool: Vec<Example>,
}

impl<'a> Rounds<'a> {
    fn new(case: &'a AuthorsCase) -> Self {
        let clip_norm = stated(case, "jointly, ");
        let config = Config { clip_norm, ..settings(case, "emar-bert", "fc ") };
        Self { case, config, learner: network(case, "w.fc.weight"), pool: rows(case) }
    }

    /// Returns the rows of a kind, in the order of the case.
    fn of_kind(&self, kind: &str) -> Vec<&Example> {
        let described = self.case.json["rows"].as_array().unwrap().iter().filter(|row| row["kind"] == kind);
        described.map(|row| &self.pool[integer(&row["row"], "row")]).collect()
    }

    /// The rows of the steps of a phase.
    fn steps(&self, phase: &str) -> Vec<Vec<usize>> {
        let rows = self.case.json["order"]["traj.rows"].as_array().unwrap();
        let own = rows.iter().zip(self.case.order("traj.phase")).filter(|(_, of)| *of == phase);
        own.map(|(rows, _)| super::rows(rows)).collect()
    }

    /// Takes a phase's steps with a fresh optimiser; losses and gradient norms.
    fn phase(&self, phase: &str, objective: &mut dyn Objective) -> Vec<(f64, f64)> {
        let mut optimiser = self.learner.optimiser(&self.config).unwrap();
        let sets = [set(&self.learner.params().vars(), |_| true)];
        let allowed = vec![true; self.case.size("N")];
        let clip = Some(self.config.clip_norm);
        let step = |numbers: Vec<usize>| {
            let mut watched = NormsBeforeClipping::new(&mut *objective, &sets);
            let batch = batch(&chosen(&self.pool, &numbers));
            let mode = &mut Mode::Eval;
            let loss = update(&self.learner, &mut optimiser, &mut watched, &batch, &allowed, mode, clip).unwrap();
            (loss, watched.norms[0])
        };
        self.steps(phase).into_iter().map(step).collect()
    }

    fn run(&self, errors: &mut Errors) {
        let case = self.case;
        let before = values(&self.learner.params().vars());
        let mut taken = Vec::new();
        for round in 0..case.size("rounds") {
            let memory = features(&self.learner, &self.of_kind("memory")).unwrap();
            let prototypes = Prototypes::from_features(memory).unwrap().unwrap();
            let ours = in_their_order(case, &prototypes.vectors, |label| prototypes.index_of(label).unwrap());
            compare(case, errors, &format!("traj.round{round}.prototypes"), &ours, TRAJECTORY);
            taken.extend(self.phase(&format!("round {round} activation"), &mut TaskLoss));
            let reconsolidation = Reconsolidation { prototypes };
            taken.extend(self.phase(&format!("round {round} reconsolidation"), &mut &reconsolidation));
            let after = values(&self.learner.params().vars());
            let prefix = format!("traj.round{round}.");
            for (name, expected) in case.below(&prefix).filter(|(name, _)| *name != "prototypes") {
                errors.tensor(&format!("{prefix}{name}"), &theirs(&after, name), expected, TRAJECTORY);
            }
        }
        assert_eq!(taken.len(), case.values("traj.losses").len(), "steps");
        let (losses, norms): (Vec<f64>, Vec<f64>) = taken.into_iter().unzip();
        for (quantity, ours) in [("traj.losses", losses), ("traj.grad_norms", norms)] {
            let expected: Vec<f64> = case.values(quantity).into_iter().map(f64::from).collect();
            errors.values(quantity, &ours, &expected, TRAJECTORY);
        }
        let after = values(&self.learner.params().vars());
        let order = [("traj.norm".to_owned(), String::new())];
        ended(case, errors, "traj", &order, (&before, &after), theirs);
        if case.tensors.contains_key("traj.norm_of_all") {
            let expected = f64::from(case.values("traj.norm_of_all")[0]);
            errors.number("traj.norm_of_all", norm(after.values()), expected, TRAJECTORY);
        }
    }

    fn evaluation(&self, errors: &mut Errors) {
        let case = self.case;
        let memory = features(&self.learner, &self.of_kind("memory")).unwrap();
        let prototypes = evaluation_prototypes(&self.learner, &memory).unwrap();
        let batch = batch(&self.of_kind("test"));
        let states = self.learner.forward(&batch, &mut Mode::Eval).unwrap().features;
        let scores = similarities(&states, &prototypes).unwrap();
        let own = in_their_order(case, &prototypes, |label| label);
        compare(case, errors, "eval.prototypes", &own, TRAJECTORY);
        compare(case, errors, "eval.features", &states, TRAJECTORY);
        let own = in_their_order(case, &scores.t().unwrap(), |label| label).t().unwrap();
        compare(case, errors, "eval.scores", &own, TRAJECTORY);
        let allowed: Vec<bool> = (0..case.size("N") as u32).map(|label| seen(case).contains(&label)).collect();
        let place = |label: u32| seen(case).iter().position(|class| *class == label).unwrap() as f64;
        let decided = self.learner.decide(&scores, &batch, &allowed).unwrap();
        let ours: Vec<f64> = decided.iter().map(|row| place(row.labels[0])).collect();
        let expected: Vec<f64> = case.values("eval.prediction").into_iter().map(f64::from).collect();
        errors.values("eval.prediction", &ours, &expected, 0.0);
    }
}
