//! Networks with a vision stream and their heads: values and gradients equal those of transformers and of PyTorch, to a
//! relative error of 1e-4 in f32. `tools/golden/networks.py` made the numbers.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod common;

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor, Var};
use mkgc_models::encoders::{BertConfig, ClipVision, ClipVisionConfig, states_at};
use mkgc_models::heads::{ClassHead, JointEntityHead, JointMarkerHead, JointRelationHead, MarkerHead, StreamSizes};
use mkgc_models::inputs::{Inputs, Pixels, Visual};
use mkgc_models::losses::masked_cross_entropy;
use mkgc_models::mode::Mode;
use mkgc_models::networks::{Dual, DualConfig, Encoded, Key, Mkgformer, MkgformerConfig, Network};
use mkgc_models::ops::{Ids, backward};
use mkgc_models::params::ParamStore;

use common::{at_markers, below, both, close, golden, gradients_agree, paths, slices, store};

type Tensors = BTreeMap<String, Tensor>;

const SIZES: StreamSizes = StreamSizes { text: 16, vision: 12 };

fn text() -> BertConfig {
    BertConfig {
        vocab_size: 20,
        hidden_size: 24,
        num_hidden_layers: 3,
        num_attention_heads: 2,
        intermediate_size: 32,
        max_position_embeddings: 16,
        ..BertConfig::default()
    }
}

fn vision() -> ClipVisionConfig {
    ClipVisionConfig {
        hidden_size: 24,
        num_hidden_layers: 2,
        num_attention_heads: 2,
        intermediate_size: 36,
        image_size: 32,
        patch_size: 8,
        ..ClipVisionConfig::default()
    }
}

/// Returns the sum of `ours`, weighted by the golden file's `weight.NAME`.
fn weighted(golden: &Tensors, name: &str, ours: &Tensor) -> Tensor {
    (ours * &golden[&format!("weight.{name}")]).unwrap().sum_all().unwrap()
}

fn sum(terms: Vec<Tensor>) -> Tensor {
    terms.into_iter().reduce(|a, b| (a + b).unwrap()).unwrap()
}

fn clip_equals(act: &str, num_hidden_layers: usize, composed: bool) {
    let name = format!("clip_{act}");
    let golden = golden(&name);
    let store = store(&name);
    let config = ClipVisionConfig { hidden_act: act.to_owned(), num_hidden_layers, ..vision() };
    let clip = ClipVision::new(&config, Visual::Image, store.builder()).unwrap();
    store.require_pretrained("").unwrap();
    let output = clip.forward(&Pixels::Image(golden["pixels"].clone()), &mut Mode::Eval).unwrap();
    assert_eq!(
        (output.hidden.len(), output.attentions.len()),
        (num_hidden_layers + 1, if composed { num_hidden_layers } else { 0 })
    );
    let mut worst = 0.0f64;
    for (n, hidden) in output.hidden.iter().enumerate() {
        worst = worst.max(close(&format!("hidden {n}"), hidden, &golden[&format!("hidden.{n}")]));
    }
    for (n, maps) in output.attentions.iter().enumerate() {
        worst = worst.max(close(&format!("attention {n}"), maps, &golden[&format!("attention.{n}")]));
    }
    let normed = clip.post_norm(output.last()).unwrap();
    let pooled = normed.narrow(1, 0, 1).unwrap().squeeze(1).unwrap();
    worst = worst.max(close("pooled", &pooled, &golden["pooled"]));
    let others = output.last().narrow(1, 1, output.last().dim(1).unwrap() - 1).unwrap();
    let loss = sum(vec![weighted(&golden, "pooled", &pooled), weighted(&golden, "states", &others)]);
    let gradient = gradients_agree(&store, &backward(&loss).unwrap(), &golden, 1.0);
    println!("{name}: values {worst:.1e}, gradients {gradient:.1e}");
}

#[test]
fn the_clip_encoder_equals_transformers() {
    both(|composed| clip_equals("quick_gelu", 2, composed));
    both(|composed| clip_equals("gelu", 1, composed));
}

/// Returns states and maps under their names in the golden file.
fn outputs(encoded: &Encoded) -> Vec<(String, Tensor)> {
    let maps = |name: &str, maps: &[Tensor]| {
        maps.iter().enumerate().map(|(n, map)| (format!("{name}.{n}"), map.clone())).collect::<Vec<_>>()
    };
    let mut outputs =
        vec![("text".to_owned(), encoded.text.clone()), ("vision".to_owned(), encoded.vision.clone().unwrap())];
    outputs.extend(maps("text_maps", &encoded.text_maps));
    outputs.extend(maps("vision_maps", &encoded.vision_maps));
    outputs
}

fn dual_case(name: &str, config: &DualConfig, pixels: &Pixels) {
    both(|_| dual_equals(name, config, pixels));
}

fn dual_equals(name: &str, config: &DualConfig, pixels: &Pixels) {
    let golden = golden(name);
    let store = store(name);
    let network = Network::Dual(Dual::new(config, store.builder()).unwrap());
    store.require_pretrained("").unwrap();
    let inputs = Inputs {
        ids: &Ids::read(&golden["ids"]).unwrap(),
        mask: &golden["mask"],
        pixels: Some(pixels),
        dtype: DType::F32,
    };
    let outputs = outputs(&network.forward(&inputs, &mut Mode::Eval).unwrap());
    assert_eq!(outputs.len(), 2 + 2 * config.shared_layers);
    let worst = outputs.iter().map(|(what, ours)| close(what, ours, &golden[what])).fold(0.0, f64::max);
    let loss = sum(outputs.iter().map(|(what, ours)| weighted(&golden, what, ours)).collect());
    let gradient = gradients_agree(&store, &backward(&loss).unwrap(), &golden, 10.0);
    println!("{name}: values {worst:.1e}, gradients {gradient:.1e}");
}

fn dual(key: Key) -> DualConfig {
    DualConfig { text: text(), vision: vision(), visual: Visual::Image, shared_layers: 2, key, max_text: 9 }
}

fn image(name: &str) -> Pixels {
    Pixels::Image(golden(name)["pixels"].clone())
}

#[test]
fn two_streams_with_their_own_keys_equal_pytorch() {
    let vision = ClipVisionConfig { hidden_size: 36, num_attention_heads: 3, ..vision() };
    dual_case("dual_own", &DualConfig { vision, ..dual(Key::Own) }, &image("dual_own"));
}

#[test]
fn two_streams_with_shared_keys_equal_pytorch() {
    dual_case("dual_matrix", &dual(Key::Matrix), &image("dual_matrix"));
    dual_case("dual_vector", &dual(Key::Vector), &image("dual_vector"));
    dual_case("dual_released", &dual(Key::Released), &image("dual_released"));
}

/// Returns the values of `pattern` in `tools/golden/networks.py`.
fn pattern(shape: (usize, usize, usize, usize, usize), absent: usize) -> Tensor {
    let count = (shape.0 * shape.1 * shape.2 * shape.3 * shape.4) as u64;
    let mut values: Vec<f32> = (0..count).map(|n| ((3 * n * n + 29 * n) % 257) as f32 / 128.0 - 1.0).collect();
    let size = values.len();
    values[size - absent..].fill(0.0);
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

#[test]
fn two_streams_on_crops_equal_pytorch() {
    let config = DualConfig {
        text: BertConfig { num_hidden_layers: 2, ..text() },
        vision: ClipVisionConfig { num_hidden_layers: 1, image_size: 64, patch_size: 32, ..vision() },
        visual: Visual::Crops,
        shared_layers: 1,
        ..dual(Key::Matrix)
    };
    // The last grounding crop of the last row is absent.
    let grounding = pattern((2, 3, 3, 128, 128), 3 * 128 * 128);
    let detected = pattern((2, 3, 3, 64, 64), 0);
    dual_case("dual_crops", &config, &Pixels::Crops { grounding, detected });
}

#[test]
fn mkgformer_equals_pytorch() {
    let golden = golden("mkgformer");
    for (name, mask_text_padding) in [("masked", true), ("open", false)] {
        let store = store("mkgformer");
        let config = MkgformerConfig {
            text: text(),
            vision: ClipVisionConfig { num_hidden_layers: 3, ..vision() },
            visual: Visual::Image,
            interaction_layers: 2,
            mask_text_padding,
        };
        let network = Network::Mkgformer(Mkgformer::new(&config, store.builder()).unwrap());
        store.require_pretrained("").unwrap();
        let pixels = Pixels::Image(golden["pixels"].clone());
        let inputs = Inputs {
            ids: &Ids::read(&golden["ids"]).unwrap(),
            mask: &golden["mask"],
            pixels: Some(&pixels),
            dtype: DType::F32,
        };
        let outputs = outputs(&network.forward(&inputs, &mut Mode::Eval).unwrap());
        let expected = below(&golden, &format!("{name}."));
        let worst = outputs.iter().map(|(what, ours)| close(what, ours, &expected[what])).fold(0.0, f64::max);
        let loss = sum(outputs.iter().map(|(what, ours)| weighted(&golden, what, ours)).collect());
        let gradient = gradients_agree(&store, &backward(&loss).unwrap(), &expected, 10.0);
        println!("mkgformer {name}: values {worst:.1e}, gradients {gradient:.1e}");
    }
    assert!(common::error(&golden["masked.vision"], &golden["open.vision"]) > 1e-3, "padding makes no difference");
}

fn var(golden: &Tensors, name: &str) -> Var {
    Var::from_tensor(&golden[name]).unwrap()
}

/// Checks values, scores of each stream and gradients of a relation head on both streams.
fn joint_relation(
    name: &str,
    features: impl Fn(&ParamStore, &Tensors, [&Tensor; 2]) -> Tensor,
    scores: impl Fn(&ParamStore, &Tensor) -> (Tensor, Vec<(&'static str, Tensor)>),
) {
    let golden = golden(name);
    let store = store(name);
    let text = var(&golden, "text");
    let vision = var(&golden, "vision");
    let features = features(&store, &golden, [text.as_tensor(), vision.as_tensor()]);
    let (logits, scores) = scores(&store, &features);
    store.require_pretrained("").unwrap();
    let loss = masked_cross_entropy(&logits, &golden["targets"], None).unwrap();
    let values = [("features", &features), ("logits", &logits), ("loss", &loss)];
    let scores = scores.iter().map(|(name, scores)| (*name, scores));
    let worst = values.into_iter().chain(scores).map(|(name, ours)| close(name, ours, &golden[name]));
    let worst = worst.fold(0.0, f64::max);
    let grads = backward(&loss).unwrap();
    let inputs = [("grad.text", &text), ("grad.vision", &vision)];
    let gradient = inputs.map(|(name, var)| close(name, grads.get(var.as_tensor()).unwrap(), &golden[name]));
    let gradient = gradient.into_iter().fold(gradients_agree(&store, &grads, &golden, 1.0), f64::max);
    println!("{name}: values {worst:.1e}, gradients {gradient:.1e}");
}

fn of_streams((text, vision): (Tensor, Tensor)) -> [(&'static str, Tensor); 2] {
    [("scores.text", text), ("scores.vision", vision)]
}

#[test]
fn relation_heads_on_both_streams_equal_pytorch() {
    let head = |store: &ParamStore| JointRelationHead::new(SIZES, 7, 0.5, store.builder()).unwrap();
    joint_relation(
        "joint_relation_head",
        |store, _, [text, vision]| head(store).features(text, vision, &mut Mode::Eval).unwrap(),
        |store, x| {
            let bracketed = ("scores.bracketed", head(store).bracketed_text_scores(x).unwrap());
            let scores = of_streams(head(store).stream_scores(x).unwrap());
            (head(store).logits(x).unwrap(), scores.into_iter().chain([bracketed]).collect())
        },
    );
    let head = |store: &ParamStore| JointMarkerHead::new(SIZES, 7, 0.5, store.builder()).unwrap();
    joint_relation(
        "joint_marker_head",
        |store, golden, [text, vision]| {
            let markers = at_markers(text, &golden["head"], &golden["tail"]);
            head(store).features(&markers, vision, &mut Mode::Eval).unwrap()
        },
        |store, x| {
            let scores = of_streams(head(store).stream_scores(x).unwrap());
            (head(store).logits(x).unwrap(), scores.into())
        },
    );
}

#[test]
fn the_joint_entity_head_equals_pytorch() {
    let golden = golden("joint_entity_head");
    let store = store("joint_entity_head");
    let head = JointEntityHead::new(StreamSizes { text: 16, vision: 16 }, 5, 0.5, store.builder()).unwrap();
    store.require_pretrained("").unwrap();
    let text = var(&golden, "text");
    let vision = var(&golden, "vision");
    let positions = var(&golden, "positions");
    let words = states_at(text.as_tensor(), &golden["anchors"]).unwrap();
    let states = [&words, vision.as_tensor(), positions.as_tensor()];
    let features = head.features(states, &golden["anchors"], &mut Mode::Eval).unwrap();
    let emissions = head.emissions(&features).unwrap();
    let (of_text, of_vision) = head.stream_scores(&features).unwrap();
    let nll = head.crf().nll(&emissions, &slices(&paths(&golden["tags"], &golden["words"]))).unwrap();
    let values = [("features", &features), ("emissions", &emissions), ("nll", &nll)];
    let scores = [("scores.text", &of_text), ("scores.vision", &of_vision)];
    let worst = values.into_iter().chain(scores).map(|(name, ours)| close(name, ours, &golden[name]));
    let worst = worst.fold(0.0, f64::max);
    let grads = backward(&nll.mean_all().unwrap()).unwrap();
    let inputs = [("grad.text", &text), ("grad.vision", &vision), ("grad.positions", &positions)];
    let gradient = inputs.map(|(name, var)| close(name, grads.get(var.as_tensor()).unwrap(), &golden[name]));
    let gradient = gradient.into_iter().fold(gradients_agree(&store, &grads, &golden, 1.0), f64::max);
    println!("joint entity head: values {worst:.1e}, gradients {gradient:.1e}");
}

/// Checks values and gradients of a relation head on the text.
fn text_relation(name: &str, logits: impl Fn(&ParamStore, &Tensors, &Tensor) -> Tensor) {
    let golden = golden(name);
    let store = store(name);
    let text = var(&golden, "text");
    let logits = logits(&store, &golden, text.as_tensor());
    store.require_pretrained("").unwrap();
    let loss = masked_cross_entropy(&logits, &golden["targets"], None).unwrap();
    let worst = close("logits", &logits, &golden["logits"]).max(close("loss", &loss, &golden["loss"]));
    let grads = backward(&loss).unwrap();
    let of_text = close("text", grads.get(text.as_tensor()).unwrap(), &golden["grad.text"]);
    let gradient = gradients_agree(&store, &grads, &golden, 1.0).max(of_text);
    println!("{name}: values {worst:.1e}, gradients {gradient:.1e}");
}

#[test]
fn linear_relation_heads_on_the_text_equal_pytorch() {
    text_relation("marker_head", |store, golden, text| {
        let head = MarkerHead::new(16, 7, 0.5, store.builder()).unwrap();
        let markers = at_markers(text, &golden["head"], &golden["tail"]);
        head.logits(&head.features(&markers, &mut Mode::Eval).unwrap()).unwrap()
    });
    text_relation("class_head", |store, _, text| {
        let head = ClassHead::new(16, 7, 0.5, store.builder()).unwrap();
        head.logits(&head.features(text, &mut Mode::Eval).unwrap()).unwrap()
    });
}
