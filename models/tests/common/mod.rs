//! What golden tests share: the stored numbers, and how far results may be from them.
#![allow(dead_code, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use candle_core::backprop::GradStore;
use candle_core::{DType, Device, Tensor};
use mkgc_models::encoders::states_at;
use mkgc_models::ops;
use mkgc_models::params::ParamStore;

/// Largest relative error with which a test passes.
pub const TOLERANCE: f64 = 1e-4;

pub fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(format!("{name}.safetensors"))
}

pub fn golden(name: &str) -> BTreeMap<String, Tensor> {
    candle_core::safetensors::load(path(name), &Device::Cpu).unwrap().into_iter().collect()
}

pub fn store(name: &str) -> ParamStore {
    ParamStore::new(0, Device::Cpu).with_pretrained(&path(name)).unwrap()
}

/// Returns the L2 norm ‖x‖ in f64.
pub fn norm(x: &Tensor) -> f64 {
    x.to_dtype(DType::F64).unwrap().sqr().unwrap().sum_all().unwrap().to_scalar::<f64>().unwrap().sqrt()
}

/// Returns ‖ours − golden‖ / ‖golden‖.
pub fn error(ours: &Tensor, golden: &Tensor) -> f64 {
    assert_eq!(ours.shape(), golden.shape());
    norm(&(ours - golden).unwrap()) / norm(golden).max(1e-6)
}

pub fn close(what: &str, ours: &Tensor, golden: &Tensor) -> f64 {
    let error = error(ours, golden);
    assert!(error <= TOLERANCE, "{what}: relative error {error:e}");
    error
}

/// Checks that every variable has a gradient equal to the golden one, and returns the largest error.
pub fn gradients_agree(store: &ParamStore, grads: &GradStore, golden: &BTreeMap<String, Tensor>, scale: f64) -> f64 {
    let mut worst = 0.0f64;
    for (name, var) in store.vars() {
        let grad = grads.get(var.as_tensor()).unwrap_or_else(|| panic!("{name} has no gradient"));
        let expected = &golden[&format!("grad.{name}")];
        // A gradient that is zero in exact arithmetic, as that of key biases, is compared on the scale of the others.
        if norm(expected) < 1e-4 * scale {
            assert!(norm(grad) < 1e-4 * scale, "{name}: {}", norm(grad));
        } else {
            worst = worst.max(close(&name, grad, expected));
        }
    }
    worst
}

/// Runs a test with fused operations (`false`) and with compositions of candle's (`true`).
pub fn both(test: impl Fn(bool)) {
    test(false);
    ops::composed(|| test(true));
}

/// Returns the tensors whose names begin with `prefix`, under the rest of their names.
pub fn below(golden: &BTreeMap<String, Tensor>, prefix: &str) -> BTreeMap<String, Tensor> {
    golden.iter().filter_map(|(name, value)| Some((name.strip_prefix(prefix)?.to_owned(), value.clone()))).collect()
}

/// Returns the rows of `tags` `[B, W]`, each as long as its `mask` has ones.
pub fn paths(tags: &Tensor, mask: &Tensor) -> Vec<Vec<u32>> {
    let rows = tags.to_vec2::<u32>().unwrap().into_iter().zip(mask.to_vec2::<u32>().unwrap());
    rows.map(|(tags, mask)| tags[..mask.iter().sum::<u32>() as usize].to_vec()).collect()
}

pub fn slices(rows: &[Vec<u32>]) -> Vec<&[u32]> {
    rows.iter().map(Vec::as_slice).collect()
}

/// Returns the states `[B, 2, H]` of `hidden` `[B, T, H]` at the positions `[B]` of the opening markers of head and tail.
pub fn at_markers(hidden: &Tensor, head: &Tensor, tail: &Tensor) -> Tensor {
    states_at(hidden, &Tensor::stack(&[head, tail], 1).unwrap()).unwrap()
}
