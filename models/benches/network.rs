//! Times an encoder layer, the CRF and the optimiser at the sizes that matter:
//! `cargo bench --workspace --bench network`. `mkgc bench` times whole steps.
#![allow(clippy::unwrap_used, missing_docs)]

use candle_core::{DType, Device, Tensor, Var};
use criterion::{Criterion, criterion_group, criterion_main};
use mkgc_models::encoders::{Bert, BertConfig};
use mkgc_models::heads::Crf;
use mkgc_models::mode::{DropoutRng, Mode};
use mkgc_models::ops::{backward, composed};
use mkgc_models::optim::{AdamW, AdamWConfig, ParamGroup};
use mkgc_models::params::ParamStore;

/// Shapes of a batch: rows, word pieces or visual tokens, hidden size.
const SHAPES: [(usize, usize, usize); 3] = [(16, 32, 384), (16, 80, 768), (64, 61, 768)];

/// Times one encoder layer with 12 heads: forward in evaluation, forward and backward in training.
fn layer(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("layer");
    group.sample_size(10);
    for (rows, pieces, hidden_size) in SHAPES {
        let shape = BertConfig {
            hidden_size,
            intermediate_size: 4 * hidden_size,
            num_hidden_layers: 1,
            vocab_size: 1000,
            ..BertConfig::default()
        };
        let store = ParamStore::new(1, Device::Cpu);
        let bert = Bert::new(&shape, store.builder()).unwrap();
        let ids = Tensor::ones((rows, pieces), DType::U32, &Device::Cpu).unwrap();
        let name = |what: &str| format!("{what} {rows}x{pieces}x{hidden_size}");
        group.bench_function(name("forward"), |b| b.iter(|| bert.forward(&ids, &ids, &mut Mode::Eval).unwrap()));
        let mut rng = DropoutRng::new(1);
        group.bench_function(name("forward and backward"), |b| {
            b.iter(|| {
                let output = bert.forward(&ids, &ids, &mut Mode::Train(&mut rng)).unwrap();
                backward(&output.last().sum_all().unwrap()).unwrap()
            });
        });
    }
}

/// Times a step over the variables of BERT-base, 110 million values.
fn adamw(criterion: &mut Criterion) {
    let store = ParamStore::new(1, Device::Cpu);
    Bert::new(&BertConfig::default(), store.builder()).unwrap();
    let vars = store.vars();
    let loss = vars.iter().map(|(_, var)| var.sum_all().unwrap()).reduce(|a, b| (a + b).unwrap()).unwrap();
    let grads = backward(&loss).unwrap();
    let group = ParamGroup { name: "all".to_owned(), vars, lr: 1e-4, weight_decay: 0.01 };
    let mut optimiser = AdamW::new(vec![group], AdamWConfig::default()).unwrap();
    let mut benches = criterion.benchmark_group("optimiser");
    benches.sample_size(10);
    benches.bench_function("AdamW with clipping, BERT-base", |b| b.iter(|| optimiser.step(&grads, Some(1.0)).unwrap()));
}

/// Times the CRF of 16 sentences of 40 words over 9 tags.
fn crf(criterion: &mut Criterion) {
    let crf = Crf::new(9, ParamStore::new(1, Device::Cpu).builder()).unwrap();
    let emissions = Var::zeros((16, 40, 9), DType::F32, &Device::Cpu).unwrap();
    let tags = [[0; 40].as_slice(); 16];
    let step = || backward(&crf.nll(emissions.as_tensor(), &tags).unwrap().sum_all().unwrap()).unwrap();
    criterion.bench_function("CRF loss and backward 16x40x9", |b| b.iter(step));
    criterion.bench_function("CRF loss and backward 16x40x9, composed", |b| b.iter(|| composed(step)));
    criterion
        .bench_function("CRF Viterbi 16x40x9", |b| b.iter(|| crf.decode(emissions.as_tensor(), &[40; 16]).unwrap()));
}

criterion_group!(benches, layer, adamw, crf);
criterion_main!(benches);
