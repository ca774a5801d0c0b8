//! The fused halves of encoder layers equal their compositions of candle's operations, to a relative error of 1e-5 in
//! f32: states, attention logits and all gradients, with padding and dropout. Any number of threads gives the same
//! bits.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod common;

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor};
use common::{error, norm};
use mkgc_models::encoders::{Bert, BertConfig, ClipVision, ClipVisionConfig};
use mkgc_models::inputs::{Inputs, Pixels, Visual};
use mkgc_models::mode::{DropoutRng, Mode};
use mkgc_models::networks::{Dual, DualConfig, Key, Mkgformer, MkgformerConfig};
use mkgc_models::ops::{self, Ids, backward};
use mkgc_models::params::ParamStore;

const TOLERANCE: f64 = 1e-5;

/// Returns waves, so that no gradient is small by symmetry.
fn waves(shape: &[usize]) -> Tensor {
    let values: Vec<f32> = (0..shape.iter().product()).map(|n: usize| (n as f32 * 0.731).sin()).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

type Forward<'a> = &'a dyn Fn(&mut Mode<'_>) -> Vec<Tensor>;

/// Returns the results of a network in training, always with the same masks, and the gradients of all its variables.
fn outcome(store: &ParamStore, forward: Forward<'_>) -> BTreeMap<String, Tensor> {
    let mut rng = DropoutRng::new(5);
    let results = forward(&mut Mode::Train(&mut rng));
    let term = |result: &Tensor| (result * waves(result.dims())).unwrap().sum_all().unwrap();
    let loss = results.iter().map(term).reduce(|sum, term| (sum + term).unwrap()).unwrap();
    let grads = backward(&loss).unwrap();
    let gradient = |(name, var): (String, candle_core::Var)| Some((name, grads.get(var.as_tensor())?.clone()));
    let results = results.into_iter().enumerate().map(|(n, result)| (format!("result {n}"), result));
    store.vars().into_iter().filter_map(gradient).chain(results).collect()
}

fn agree(what: &str, store: &ParamStore, forward: Forward<'_>) {
    let mut fused = outcome(store, forward);
    let composed = ops::composed(|| outcome(store, forward));
    // If the loss reads logits alone, a composed layer ends with them, and a fused one has zero gradients for the rest.
    fused.retain(|name, grad| composed.contains_key(name) || norm(grad) > 0.0);
    assert_eq!(fused.keys().collect::<Vec<_>>(), composed.keys().collect::<Vec<_>>());
    // Key biases have no gradient in exact arithmetic, so what rounding leaves is compared with the largest gradient.
    let largest = composed.values().map(norm).fold(0.0, f64::max);
    let far = |name: &String| match norm(&composed[name]) < 1e-5 * largest {
        true => norm(&(&fused[name] - &composed[name]).unwrap()) / largest,
        false => error(&fused[name], &composed[name]),
    };
    let (name, worst) = fused.keys().map(|name| (name, far(name))).max_by(|a, b| a.1.total_cmp(&b.1)).unwrap();
    println!("{what}: {worst:.1e} ({name})");
    assert!(worst <= TOLERANCE, "{what}: {name} is off by {worst:e}");
}

fn bert(hidden_act: &str, layers: usize) -> BertConfig {
    BertConfig {
        vocab_size: 40,
        hidden_size: 36,
        num_hidden_layers: layers,
        num_attention_heads: 3,
        intermediate_size: 52,
        max_position_embeddings: 64,
        hidden_act: hidden_act.to_owned(),
        attention_probs_dropout_prob: 0.2,
        ..BertConfig::default()
    }
}

/// Returns ids and mask of rows of these lengths.
fn rows(lengths: &[usize]) -> (Tensor, Tensor) {
    let longest = lengths.iter().copied().max().unwrap();
    let grid = |f: &dyn Fn(usize, usize) -> u32| {
        let values: Vec<u32> = (0..lengths.len() * longest).map(|n| f(n / longest, n % longest)).collect();
        Tensor::from_vec(values, (lengths.len(), longest), &Device::Cpu).unwrap()
    };
    let ids = grid(&|row, at| if at < lengths[row] { ((row * 31 + at * 17) % 39 + 1) as u32 } else { 0 });
    (ids, grid(&|row, at| u32::from(at < lengths[row])))
}

#[test]
fn bert_layers() {
    for (act, layers, lengths) in [
        ("gelu", 1, &[1][..]),
        ("gelu", 2, &[7, 3, 5]),
        ("gelu_new", 1, &[16, 16]),
        ("quick_gelu", 1, &[33, 1, 9, 20, 33]),
        ("relu", 1, &[4, 2]),
    ] {
        let store = ParamStore::new(3, Device::Cpu);
        let bert = Bert::new(&bert(act, layers), store.builder()).unwrap();
        let (ids, mask) = rows(lengths);
        agree(&format!("bert {act} {lengths:?}"), &store, &|mode| {
            vec![bert.forward(&ids, &mask, mode).unwrap().last().clone()]
        });
    }
}

#[test]
fn clip_layers() {
    for (act, batch) in [("quick_gelu", 3), ("gelu", 1)] {
        let config = ClipVisionConfig {
            hidden_size: 36,
            intermediate_size: 60,
            num_hidden_layers: 2,
            num_attention_heads: 4,
            image_size: 24,
            patch_size: 8,
            hidden_act: act.to_owned(),
            attention_dropout: 0.1,
            ..ClipVisionConfig::default()
        };
        let store = ParamStore::new(3, Device::Cpu);
        let clip = ClipVision::new(&config, Visual::Image, store.builder()).unwrap();
        let pixels = Pixels::Image(waves(&[batch, 3, 24, 24]));
        agree(&format!("clip {act}"), &store, &|mode| vec![clip.forward(&pixels, mode).unwrap().last().clone()]);
    }
}

fn vision() -> ClipVisionConfig {
    ClipVisionConfig {
        hidden_size: 36,
        intermediate_size: 60,
        num_hidden_layers: 3,
        num_attention_heads: 3,
        image_size: 24,
        patch_size: 8,
        attention_dropout: 0.1,
        ..ClipVisionConfig::default()
    }
}

/// Returns two streams whose last two of three layers share keys; BERT's have the norm after, CLIP's before.
fn two_streams(key: Key) -> (ParamStore, Dual) {
    let visual = Visual::Image;
    let text = bert("gelu", 3);
    let config = DualConfig { text, vision: vision(), visual, shared_layers: 2, key, max_text: 23 };
    let store = ParamStore::new(3, Device::Cpu);
    let dual = Dual::new(&config, store.builder()).unwrap();
    (store, dual)
}

/// What the loss of a case reads.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Loss {
    States,
    Logits,
    Both,
}

fn encode(dual: &Dual, lengths: &[usize], loss: Loss, mode: &mut Mode<'_>) -> Vec<Tensor> {
    let (ids, mask) = rows(lengths);
    let ids = Ids::read(&ids).unwrap();
    let pixels = Pixels::Image(waves(&[lengths.len(), 3, 24, 24]));
    let inputs = Inputs { ids: &ids, mask: &mask, pixels: Some(&pixels), dtype: DType::F32 };
    let encoded = dual.forward(&inputs, mode).unwrap();
    let states = [encoded.text, encoded.vision.unwrap()];
    let logits = [encoded.text_maps, encoded.vision_maps].concat();
    assert_eq!(logits.len(), 4);
    match loss {
        Loss::States => states.to_vec(),
        Loss::Logits => logits,
        Loss::Both => [&states[..], &logits].concat(),
    }
}

#[test]
fn layers_whose_logits_are_read() {
    for key in [Key::Own, Key::Matrix, Key::Vector, Key::Released] {
        for (loss, lengths) in [(Loss::States, &[7, 3, 5][..]), (Loss::Both, &[23, 2]), (Loss::Logits, &[6, 6, 1, 4])] {
            let (store, dual) = two_streams(key);
            agree(&format!("{key:?} {loss:?} {lengths:?}"), &store, &|mode| encode(&dual, lengths, loss, mode));
        }
    }
}

/// Vision attends to keys and values of the text, and the text's feed-forward part has an extra input.
#[test]
fn mkgformer_layers() {
    for (mask_text_padding, lengths) in [(true, &[5, 9][..]), (true, &[6]), (false, &[1, 4])] {
        let config = MkgformerConfig {
            text: bert("gelu", 3),
            vision: vision(),
            visual: Visual::Image,
            interaction_layers: 2,
            mask_text_padding,
        };
        let store = ParamStore::new(3, Device::Cpu);
        let network = Mkgformer::new(&config, store.builder()).unwrap();
        let (ids, mask) = rows(lengths);
        let ids = Ids::read(&ids).unwrap();
        let pixels = Pixels::Image(waves(&[lengths.len(), 3, 24, 24]));
        agree(&format!("mkgformer {lengths:?}"), &store, &|mode| {
            let inputs = Inputs { ids: &ids, mask: &mask, pixels: Some(&pixels), dtype: DType::F32 };
            let encoded = network.forward(&inputs, mode).unwrap();
            vec![encoded.text, encoded.vision.unwrap()]
        });
    }
}

#[test]
fn threads_change_nothing() {
    let bits = |threads| {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(|| {
            let store = ParamStore::new(3, Device::Cpu);
            let wide = BertConfig { hidden_size: 96, intermediate_size: 384, ..bert("gelu", 2) };
            let bert = Bert::new(&wide, store.builder()).unwrap();
            let (ids, mask) = rows(&[40, 31, 17, 40, 25, 9, 38, 40]);
            let all = outcome(&store, &|mode| vec![bert.forward(&ids, &mask, mode).unwrap().last().clone()]);
            let (store, dual) = two_streams(Key::Matrix);
            let shared = outcome(&store, &|mode| encode(&dual, &[20, 7, 13], Loss::Both, mode));
            let flat = |x: Tensor| x.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            all.into_values().chain(shared.into_values()).flat_map(flat).map(f32::to_bits).collect::<Vec<u32>>()
        })
    };
    let one = bits(1);
    assert!([2, 3, 8].into_iter().all(|threads| bits(threads) == one));
}

/// A gradient that is not collected would mean a variable that silently does not learn.
#[test]
fn a_backward_pass_that_would_lose_gradients_is_refused() {
    let store = ParamStore::new(3, Device::Cpu);
    let bert = Bert::new(&bert("gelu", 1), store.builder()).unwrap();
    let (ids, mask) = rows(&[3, 2]);
    let loss = || bert.forward(&ids, &mask, &mut Mode::Eval).unwrap().last().sum_all().unwrap();
    assert!(loss().backward().unwrap_err().to_string().contains("ops::backward"));
    let twice = loss();
    backward(&twice).unwrap();
    assert!(backward(&twice).unwrap_err().to_string().contains("ran through this graph before"));
}
