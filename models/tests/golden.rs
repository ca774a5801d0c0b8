//! Values and gradients equal those of transformers, pytorch-crf and PyTorch, to a relative error of 1e-4 in f32.
//! `tools/golden/models.py` made the numbers.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod common;

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor, Var};
use common::{at_markers, both, close, error, golden, gradients_agree, paths, slices, store};
use mkgc_models::encoders::{Bert, BertConfig};
use mkgc_models::heads::{Crf, RelationHead};
use mkgc_models::losses::masked_cross_entropy;
use mkgc_models::mode::{DropoutRng, Mode};
use mkgc_models::ops::backward;
use mkgc_models::optim::{AdamW, AdamWConfig, ParamGroup};
use mkgc_models::params::ParamStore;

fn bert_case(name: &str, layers: usize, act: &str) {
    both(|composed| bert_equals(name, layers, act, composed));
}

fn bert_equals(name: &str, layers: usize, act: &str, composed: bool) {
    let golden = golden(name);
    let store = store(name);
    let config = BertConfig {
        vocab_size: 50,
        hidden_size: 48,
        num_hidden_layers: layers,
        num_attention_heads: 3,
        intermediate_size: 96,
        max_position_embeddings: 24,
        hidden_act: act.to_owned(),
        ..BertConfig::default()
    };
    let bert = Bert::new(&config, store.builder()).unwrap();
    store.require_pretrained("").unwrap();
    let output = bert.forward(&golden["ids"], &golden["mask"], &mut Mode::Eval).unwrap();
    assert_eq!((output.hidden.len(), output.attentions.len()), (layers + 1, if composed { layers } else { 0 }));
    let mut worst = 0.0f64;
    for (n, hidden) in output.hidden.iter().enumerate() {
        worst = worst.max(close(&format!("hidden {n}"), hidden, &golden[&format!("hidden.{n}")]));
    }
    for (n, maps) in output.attentions.iter().enumerate() {
        worst = worst.max(close(&format!("attention {n}"), maps, &golden[&format!("attention.{n}")]));
    }
    let loss = (output.last() * &golden["weight"]).unwrap().sum_all().unwrap();
    let gradient = gradients_agree(&store, &backward(&loss).unwrap(), &golden, 100.0);
    println!("{name}, composed {composed}: values {worst:.1e}, gradients {gradient:.1e}");
}

#[test]
fn one_layer_equals_transformers() {
    bert_case("layer", 1, "gelu");
}

#[test]
fn a_whole_model_equals_transformers() {
    bert_case("model", 3, "gelu_new");
}

#[test]
fn the_relation_head_and_the_masked_loss_equal_pytorch() {
    let golden = golden("relation_head");
    let store = store("relation_head");
    let head = RelationHead::new(16, 7, 0.5, store.builder()).unwrap();
    store.require_pretrained("").unwrap();
    let hidden = Var::from_tensor(&golden["hidden"]).unwrap();
    let markers = at_markers(hidden.as_tensor(), &golden["head"], &golden["tail"]);
    let features = head.features(&markers, &mut Mode::Eval).unwrap();
    let logits = head.logits(&features).unwrap();
    let values = close("logits", &logits, &golden["logits"]);
    let allowed: Vec<bool> = golden["allowed"].to_vec1::<u32>().unwrap().into_iter().map(|on| on != 0).collect();
    let loss = masked_cross_entropy(&logits, &golden["targets"], Some(&allowed)).unwrap();
    close("loss", &loss, &golden["loss"]);
    let grads = backward(&loss).unwrap();
    let of_hidden = close("hidden", grads.get(hidden.as_tensor()).unwrap(), &golden["grad.hidden"]);
    println!(
        "relation head: values {values:.1e}, gradients {:.1e}",
        gradients_agree(&store, &grads, &golden, 1.0).max(of_hidden)
    );
}

#[test]
fn the_crf_equals_pytorch_crf() {
    let golden = golden("crf");
    let store = store("crf");
    let crf = Crf::new(5, store.builder()).unwrap();
    store.require_pretrained("").unwrap();
    let emissions = Var::from_tensor(&golden["emissions"]).unwrap();
    let nll = crf.nll(emissions.as_tensor(), &slices(&paths(&golden["tags"], &golden["mask"]))).unwrap();
    let values = close("nll", &nll, &golden["nll"]);
    let weights = Tensor::new(&[1.0f32, 0.5, 2.0, 1.5], &Device::Cpu).unwrap();
    let grads = backward(&(nll * weights).unwrap().sum_all().unwrap()).unwrap();
    let of_emissions = close("emissions", grads.get(emissions.as_tensor()).unwrap(), &golden["grad.emissions"]);
    println!(
        "crf: values {values:.1e}, gradients {:.1e}",
        gradients_agree(&store, &grads, &golden, 1.0).max(of_emissions)
    );
    let expected = paths(&golden["paths"], &golden["mask"]);
    let lengths: Vec<usize> = expected.iter().map(Vec::len).collect();
    assert_eq!(crf.decode(emissions.as_tensor(), &lengths).unwrap(), expected);
}

fn groups(a: &Var, b: &Var) -> Vec<ParamGroup> {
    let group = |name: &str, var: &Var, lr, weight_decay| {
        let vars = vec![(name.to_owned(), var.clone())];
        ParamGroup { name: name.to_owned(), vars, lr, weight_decay }
    };
    vec![group("a", a, 1e-2, 0.1), group("b", b, 3e-3, 0.0)]
}

#[test]
fn groups_that_are_clipped_apart_move_as_with_an_optimiser_each() {
    let start = |values: [f32; 2]| Var::new(&values, &Device::Cpu).unwrap();
    let a = start([3.0, -4.0]);
    let b = start([0.3, 0.4]);
    let alone_a = start([3.0, -4.0]);
    let alone_b = start([0.3, 0.4]);
    let loss = |var: &Var| var.as_tensor().sqr().unwrap().sum_all().unwrap();
    let grads = |vars: [&Var; 2]| backward(&(loss(vars[0]) + loss(vars[1])).unwrap()).unwrap();
    let optimiser = |groups| AdamW::new(groups, AdamWConfig::default()).unwrap();
    let mut apart = optimiser(groups(&a, &b)).clipping_apart(true);
    let mut single = groups(&alone_a, &alone_b).into_iter().map(|group| optimiser(vec![group])).collect::<Vec<_>>();
    for step in 0..5 {
        apart.step(&grads([&a, &b]), Some(2.0 - 0.4 * f64::from(step))).unwrap();
        let grads = grads([&alone_a, &alone_b]);
        single.iter_mut().for_each(|single| single.step(&grads, Some(2.0 - 0.4 * f64::from(step))).unwrap());
    }
    let values = |var: &Var| var.to_vec1::<f32>().unwrap();
    assert_eq!((values(&a), values(&b)), (values(&alone_a), values(&alone_b)));
    let c = start([3.0, -4.0]);
    let d = start([0.3, 0.4]);
    let mut together = optimiser(groups(&c, &d));
    (0..5).for_each(|step| together.step(&grads([&c, &d]), Some(2.0 - 0.4 * f64::from(step))).unwrap());
    assert_ne!(values(&d), values(&b), "a clip that is reached should tell the two apart");
}

#[test]
fn twenty_steps_of_adamw_equal_torch_also_across_a_stored_state() {
    let golden = golden("adamw");
    let a = Var::from_tensor(&golden["a.start"]).unwrap();
    let b = Var::from_tensor(&golden["b.start"]).unwrap();
    let mut optimiser = AdamW::new(groups(&a, &b), AdamWConfig::default()).unwrap();
    let scales = golden["scales"].to_vec1::<f32>().unwrap();
    let norms = golden["norms"].to_vec1::<f32>().unwrap();
    let mut worst = 0.0f64;
    for step in 0..20 {
        if step == 10 {
            let state = optimiser.state().unwrap();
            optimiser = AdamW::new(groups(&a, &b), AdamWConfig::default()).unwrap();
            optimiser.load_state(&state).unwrap();
        }
        let term = |var: &Var| {
            let quadratic = (var.as_tensor().sqr().unwrap() * f64::from(scales[step] / 2.0)).unwrap();
            (quadratic + (var.as_tensor() * (step as f64).sin()).unwrap()).unwrap().sum_all().unwrap()
        };
        let grads = backward(&(term(&a) + term(&b)).unwrap()).unwrap();
        let norm = optimiser.norm(&grads).unwrap();
        optimiser.step(&grads, Some(4.0)).unwrap();
        assert!((norm / f64::from(norms[step]) - 1.0).abs() < 1e-5, "norm at step {step}");
        worst = worst.max(close("a", a.as_tensor(), &golden[&format!("a.{step}")]));
        worst = worst.max(close("b", b.as_tensor(), &golden[&format!("b.{step}")]));
    }
    println!("adamw: {worst:.1e}");
}

#[test]
fn state_of_another_network_is_refused_and_changes_nothing() {
    let zeros = |n: usize| Var::from_tensor(&Tensor::zeros(n, DType::F32, &Device::Cpu).unwrap()).unwrap();
    let mut optimiser = AdamW::new(groups(&zeros(3), &zeros(2)), AdamWConfig::default()).unwrap();
    let other = AdamW::new(groups(&zeros(4), &zeros(2)), AdamWConfig::default()).unwrap();
    assert!(optimiser.load_state(&other.state().unwrap()).unwrap_err().to_string().contains("moments of `a`"));
    assert!(optimiser.load_state(&BTreeMap::new()).unwrap_err().to_string().contains("no `step`"));
}

/// candle's fused layers can cut the graph silently, so this test checks that training moves every variable of a
/// network.
#[test]
fn every_variable_moves_in_one_step_of_training() {
    let store = ParamStore::new(7, Device::Cpu);
    let config = BertConfig {
        hidden_size: 24,
        num_hidden_layers: 2,
        num_attention_heads: 2,
        intermediate_size: 48,
        vocab_size: 20,
        ..BertConfig::default()
    };
    let bert = Bert::new(&config, store.builder()).unwrap();
    let head = RelationHead::new(24, 5, 0.1, store.builder().pp("head")).unwrap();
    let before = store.tensors().unwrap();
    let group = ParamGroup { name: "all".to_owned(), vars: store.vars(), lr: 1e-2, weight_decay: 0.0 };
    let mut optimiser = AdamW::new(vec![group], AdamWConfig::default()).unwrap();
    let ids = Tensor::new(&[[1u32, 2, 3, 4], [5, 6, 7, 0]], &Device::Cpu).unwrap();
    let mask = Tensor::new(&[[1u32, 1, 1, 1], [1, 1, 1, 0]], &Device::Cpu).unwrap();
    let mut rng = DropoutRng::new(1);
    let mut mode = Mode::Train(&mut rng);
    let output = bert.forward(&ids, &mask, &mut mode).unwrap();
    let positions = Tensor::new(&[1u32, 2], &Device::Cpu).unwrap();
    let markers = at_markers(output.last(), &positions, &positions);
    let logits = head.logits(&head.features(&markers, &mut mode).unwrap()).unwrap();
    let loss = masked_cross_entropy(&logits, &Tensor::new(&[0u32, 3], &Device::Cpu).unwrap(), None).unwrap();
    optimiser.step(&backward(&loss).unwrap(), None).unwrap();
    for (name, value) in store.tensors().unwrap() {
        assert!(error(&value, &before[&name]) > 0.0, "{name} did not move");
    }
}
