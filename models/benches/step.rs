//! A whole training step (forward, backward, AdamW) of a network of MiniLM's shape on 16 sentences of 32 pieces, with
//! dropout: medians over the steps of a round in milliseconds. `cargo bench -p mkgc-models --bench step [-- STEPS]`.
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]

use std::time::Instant;

use candle_core::{Device, Tensor};
use mkgc_models::bert::{Bert, BertConfig};
use mkgc_models::heads::relation::RelationHead;
use mkgc_models::loss::masked_cross_entropy;
use mkgc_models::mode::{DropoutRng, Mode};
use mkgc_models::ops::backward;
use mkgc_models::optim::{AdamW, AdamWConfig, ParamGroup};
use mkgc_models::params::ParamStore;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() {
    let steps: usize = std::env::args().filter_map(|argument| argument.parse().ok()).next().unwrap_or(10);
    let (rows, pieces) = (16, 32);
    let config = BertConfig {
        hidden_size: 384,
        num_hidden_layers: 6,
        num_attention_heads: 12,
        intermediate_size: 1536,
        ..BertConfig::default()
    };
    let store = ParamStore::new(1, Device::Cpu);
    let bert = Bert::new(&config, store.builder()).unwrap();
    let head = RelationHead::new(384, 41, 0.5, store.builder().pp("head")).unwrap();
    let group = ParamGroup { name: "all".to_owned(), vars: store.vars(), lr: 5e-5, weight_decay: 0.01 };
    let mut optimiser = AdamW::new(vec![group], AdamWConfig::default()).unwrap();
    let mut rng = DropoutRng::new(1);
    let grid = |f: &dyn Fn(usize) -> u32| {
        Tensor::from_vec((0..rows * pieces).map(f).collect::<Vec<u32>>(), (rows, pieces), &Device::Cpu).unwrap()
    };
    let ids = grid(&|i| (i as u32).wrapping_mul(2_654_435_761) % 30_522);
    let mask = grid(&|i| u32::from(i % pieces < 20 + i / pieces % 13));
    let place = |at: u32| Tensor::full(at, rows, &Device::Cpu).unwrap();
    let targets = Tensor::from_vec((0..rows as u32).collect(), rows, &Device::Cpu).unwrap();
    let mut times = Vec::new();
    let mut last = 0.0;
    for _ in 0..steps + 2 {
        let start = Instant::now();
        let mut mode = Mode::Train(&mut rng);
        let output = bert.forward(&ids, &mask, &mut mode).unwrap();
        let features = head.features(output.last(), &place(1), &place(9), &mut mode).unwrap();
        let loss = masked_cross_entropy(&head.logits(&features).unwrap(), &targets, None).unwrap();
        let forward = start.elapsed();
        let grads = backward(&loss).unwrap();
        let backward = start.elapsed();
        optimiser.step(&grads, Some(1.0)).unwrap();
        drop((output, grads));
        let step = start.elapsed();
        times.push([forward, backward - forward, step - backward, step].map(|time| time.as_secs_f64() * 1e3));
        last = loss.to_scalar::<f32>().unwrap();
    }
    let of = |phase: usize| median(times[2..].iter().map(|time| time[phase]));
    println!("step {:.1} ms (forward {:.1}, backward {:.1}, AdamW {:.1}), loss {last:.6}", of(3), of(0), of(1), of(2));
}
