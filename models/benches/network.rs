//! Encoder step, CRF and optimiser at the sizes that matter: `cargo bench -p mkgc-models`.
#![allow(clippy::unwrap_used, missing_docs)]

use candle_core::{DType, Device, Tensor};
use criterion::{Criterion, criterion_group, criterion_main};
use mkgc_models::bert::{Bert, BertConfig};
use mkgc_models::crf::Crf;
use mkgc_models::mode::{DropoutRng, Mode};
use mkgc_models::ops::backward;
use mkgc_models::optim::{AdamW, AdamWConfig, ParamGroup};
use mkgc_models::params::ParamStore;

const MINILM: (usize, usize, usize) = (384, 12, 1536);

/// One encoder layer over a batch of 16 sentences of 32 pieces.
fn layer(criterion: &mut Criterion) {
    let (hidden_size, num_attention_heads, intermediate_size) = MINILM;
    let shape = BertConfig {
        hidden_size,
        num_attention_heads,
        intermediate_size,
        num_hidden_layers: 1,
        vocab_size: 1000,
        ..BertConfig::default()
    };
    let store = ParamStore::new(1, Device::Cpu);
    let bert = Bert::new(&shape, store.builder()).unwrap();
    let ids = Tensor::ones((16, 32), DType::U32, &Device::Cpu).unwrap();
    criterion
        .bench_function("layer forward 16x32x384", |b| b.iter(|| bert.forward(&ids, &ids, &mut Mode::Eval).unwrap()));
    let mut rng = DropoutRng::new(1);
    criterion.bench_function("layer forward and backward 16x32x384", |b| {
        b.iter(|| {
            let output = bert.forward(&ids, &ids, &mut Mode::Train(&mut rng)).unwrap();
            backward(&output.last().sum_all().unwrap()).unwrap()
        });
    });
    let group = ParamGroup { name: "all".to_owned(), vars: store.vars(), lr: 1e-4, weight_decay: 0.0 };
    let mut optimiser = AdamW::new(vec![group], AdamWConfig::default()).unwrap();
    let output = bert.forward(&ids, &ids, &mut Mode::Eval).unwrap();
    let grads = backward(&output.last().sum_all().unwrap()).unwrap();
    criterion.bench_function("AdamW one layer", |b| b.iter(|| optimiser.step(&grads, Some(1.0)).unwrap()));
}

/// 16 sentences of 40 words, 9 tags.
fn crf(criterion: &mut Criterion) {
    let crf = Crf::new(9, ParamStore::new(1, Device::Cpu).builder()).unwrap();
    let emissions = candle_core::Var::zeros((16, 40, 9), DType::F32, &Device::Cpu).unwrap();
    let tags = Tensor::zeros((16, 40), DType::U32, &Device::Cpu).unwrap();
    let mask = tags.ones_like().unwrap();
    criterion.bench_function("CRF loss and backward 16x40x9", |b| {
        b.iter(|| backward(&crf.nll(emissions.as_tensor(), &tags, &mask).unwrap().sum_all().unwrap()).unwrap());
    });
    criterion.bench_function("CRF Viterbi 16x40x9", |b| b.iter(|| crf.decode(emissions.as_tensor(), &mask).unwrap()));
}

criterion_group!(benches, layer, crf);
criterion_main!(benches);
