//! The pieces that methods are made of equal their formulas in PyTorch, values and gradients, to a relative error of
//! 1e-4 in f32. `tools/golden/parts.py` made the numbers.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod common;

use std::collections::BTreeMap;

use candle_core::{Device, Tensor, Var};
use common::{both, close, golden, gradients_agree, store};
use mkgc_models::heads::MemoryNetwork;
use mkgc_models::inputs::Stream;
use mkgc_models::losses::distillation::{
    Pooling, attention_distillation, attention_distillation_released, pool, pool_released,
};
use mkgc_models::losses::modulation::{Balance, Change, Coefficients, modulate, ratio, sums};
use mkgc_models::losses::prototype_cross_entropy;
use mkgc_models::ops::backward;
use mkgc_models::params::ParamStore;

const POOLINGS: [(&str, Pooling); 4] =
    [("width", Pooling::Width), ("height", Pooling::Height), ("both", Pooling::Both), ("none", Pooling::None)];

fn scalar(tensor: &Tensor) -> f32 {
    tensor.to_scalar().unwrap()
}

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

#[test]
fn the_memory_network_equals_the_last_rows_of_the_full_computation() {
    let golden = golden("memory_network");
    let store = store("memory_network");
    let network = MemoryNetwork::new(12, 5, store.builder()).unwrap();
    store.require_pretrained("").unwrap();
    let x = Var::from_tensor(&golden["x"]).unwrap();
    let prototypes = Var::from_tensor(&golden["prototypes"]).unwrap();
    let refined = network.forward(x.as_tensor(), prototypes.as_tensor()).unwrap();
    let value = close("refined", &refined, &golden["refined"]);
    let grads = backward(&(refined * &golden["weight"]).unwrap().sum_all().unwrap()).unwrap();
    let worst = [("x", &x), ("prototypes", &prototypes)]
        .map(|(name, var)| close(name, grads.get(var.as_tensor()).unwrap(), &golden[&format!("grad.{name}")]));
    let gradient = gradients_agree(&store, &grads, &golden, 10.0).max(worst[0]).max(worst[1]);
    println!("memory network: values {value:.1e}, gradients {gradient:.1e}");
}

#[test]
fn without_prototypes_a_feature_attends_to_itself() {
    let golden = golden("memory_network");
    let store = store("memory_network");
    let network = MemoryNetwork::new(12, 5, store.builder()).unwrap();
    let x = Var::from_tensor(&golden["x"]).unwrap();
    let alone = network.forward(x.as_tensor(), &golden["prototypes"].narrow(0, 0, 0).unwrap()).unwrap();
    let value = close("alone", &alone, &golden["alone"]);
    let grads = backward(&(alone * &golden["weight"]).unwrap().sum_all().unwrap()).unwrap();
    let gradient = close("x", grads.get(x.as_tensor()).unwrap(), &golden["grad.alone.x"]);
    println!("memory network without prototypes: values {value:.1e}, gradients {gradient:.1e}");
}

#[test]
fn a_fresh_memory_network_starts_as_torch_starts_linear_layers() {
    let store = ParamStore::new(3, Device::Cpu);
    MemoryNetwork::new(16, 8, store.builder()).unwrap();
    let fresh = store.tensors().unwrap();
    let names: Vec<&str> = fresh.keys().map(String::as_str).filter(|name| name.ends_with("weight")).collect();
    let maps = ["dense", "inner_norm", "key", "key_norm", "output", "output_norm", "query", "query_norm", "value"];
    let expected = ["attention_norm"].iter().chain(&maps).chain(&["value_norm"]).map(|name| format!("{name}.weight"));
    assert_eq!(names, expected.collect::<Vec<_>>());
    assert_eq!(fresh["query_norm.weight"].dims(), [4, 8]);
    for (name, inputs) in [("query", 16.0f32), ("output", 64.0)] {
        let largest = values(&fresh[&format!("{name}.weight")]).into_iter().fold(0.0f32, |most, w| most.max(w.abs()));
        let bound = inputs.sqrt().recip();
        assert!(largest <= bound && largest > 0.9 * bound, "{name}: {largest}");
    }
}

#[test]
fn reconsolidation_equals_pytorch() {
    let golden = golden("prototype_loss");
    let x = Var::from_tensor(&golden["x"]).unwrap();
    let loss = prototype_cross_entropy(x.as_tensor(), &golden["prototypes"], &golden["targets"]).unwrap();
    let value = close("loss", &loss, &golden["loss"]);
    let grads = backward(&loss).unwrap();
    let gradient = close("x", grads.get(x.as_tensor()).unwrap(), &golden["grad.x"]);
    println!("reconsolidation: value {value:.1e}, gradient {gradient:.1e}");
}

/// Returns the maps of both layers.
fn maps(golden: &BTreeMap<String, Tensor>, name: &str) -> Vec<Tensor> {
    (0..2).map(|layer| golden[&format!("{name}.{layer}")].clone()).collect()
}

/// Returns the loss of the paper and its gradients with respect to the student's maps of each layer.
fn described(student: &[Tensor], mask: &Tensor, teacher: &Tensor, pooling: Pooling) -> (Tensor, Vec<Tensor>) {
    let vars: Vec<Var> = student.iter().map(|map| Var::from_tensor(map).unwrap()).collect();
    let maps: Vec<Tensor> = vars.iter().map(|var| var.as_tensor().clone()).collect();
    let loss = attention_distillation(&pool(&maps, mask, pooling).unwrap(), teacher, mask, pooling).unwrap();
    let grads = backward(&loss).unwrap();
    (loss, vars.iter().map(|var| grads.get(var.as_tensor()).unwrap().clone()).collect())
}

#[test]
fn attention_distillation_equals_pytorch() {
    let golden = golden("distillation");
    let student = maps(&golden, "student");
    let teacher = maps(&golden, "teacher");
    let mask = &golden["mask"];
    both(|composed| {
        for (name, pooling) in POOLINGS {
            let (loss, grads) = described(&student, mask, &pool(&teacher, mask, pooling).unwrap(), pooling);
            let value = close(name, &loss, &golden[&format!("loss.{name}")]);
            let gradient = (0..2).map(|layer| close(name, &grads[layer], &golden[&format!("grad.{name}.{layer}")]));
            let gradient = gradient.fold(0.0, f64::max);
            println!("distillation by {name}, composed {composed}: value {value:.1e}, gradient {gradient:.1e}");
        }
    });
}

#[test]
fn attention_distillation_pulls_unless_the_student_is_the_teacher() {
    let golden = golden("distillation");
    let student = maps(&golden, "student");
    let teacher = maps(&golden, "teacher");
    let mask = &golden["mask"];
    let size = |grads: &[Tensor]| grads.iter().flat_map(values).map(f32::abs).sum::<f32>();
    for (name, pooling) in POOLINGS {
        let (loss, grads) = described(&student, mask, &pool(&student, mask, pooling).unwrap(), pooling);
        assert_eq!((scalar(&loss), size(&grads)), (0.0, 0.0), "{name}");
        let (loss, grads) = described(&student, mask, &pool(&teacher, mask, pooling).unwrap(), pooling);
        assert!(scalar(&loss) > 0.0 && size(&grads) > 1e-3, "{name}");
    }
}

const STREAMS: [Stream; 2] = [Stream::Text, Stream::Vision];

/// Returns the released loss of one stream, summed over its directions.
fn released(student: &[Tensor], teacher: &[Tensor], mask: &Tensor, stream: Stream, pooling: Pooling) -> Tensor {
    let pooled = |maps: &[Tensor]| pool_released(maps, mask, stream, pooling).unwrap();
    let pairs = pooled(student).into_iter().zip(pooled(teacher));
    let losses = pairs.map(|(student, teacher)| attention_distillation_released(&student, &teacher, stream).unwrap());
    losses.reduce(|a, b| (a + b).unwrap()).unwrap()
}

#[test]
fn the_released_distillation_counts_rows_and_has_no_gradient() {
    let golden = golden("distillation");
    let student = maps(&golden, "student");
    let teacher = maps(&golden, "teacher");
    let mask = &golden["mask"];
    for (stream, name) in STREAMS.into_iter().zip(["text", "vision"]) {
        assert!(pool_released(&student, mask, stream, Pooling::None).unwrap().is_empty());
        for (direction, pooling) in &POOLINGS[..3] {
            let key = format!("released.{name}.{direction}");
            let value = released(&student, &teacher, mask, stream, *pooling);
            println!("{key}: value {:.1e}", close(&key, &value, &golden[&format!("loss.{key}")]));
            // PyTorch's gradient is mere rounding. Ours is absent, and differences of the value confirm that it is
            // zero.
            for layer in 0..2 {
                let rounding = values(&golden[&format!("grad.{key}.{layer}")]);
                assert!(rounding.iter().all(|grad| grad.abs() < 1e-12));
            }
            let vars: Vec<Var> = student.iter().map(|map| Var::from_tensor(map).unwrap()).collect();
            let tracked: Vec<Tensor> = vars.iter().map(|var| var.as_tensor().clone()).collect();
            let grads = backward(&released(&tracked, &teacher, mask, stream, *pooling)).unwrap();
            assert!(vars.iter().all(|var| grads.get(var.as_tensor()).is_none()));
            let moved: Vec<Tensor> = student.iter().map(|map| (map + 1e-4).unwrap()).collect();
            assert!((scalar(&released(&moved, &teacher, mask, stream, *pooling)) - scalar(&value)).abs() < 1e-8);
            assert_eq!(scalar(&released(&student, &student, mask, stream, *pooling)), 0.0);
        }
    }
    // The value is sqrt(rows)/100, averaged over layers. In the text, all three sentences count in the first layer and
    // two in the second; in the vision stream, every head counts by itself.
    let text = scalar(&released(&student, &teacher, mask, Stream::Text, Pooling::Width));
    assert!((text - (3f32.sqrt() + 2f32.sqrt()) / 200.0).abs() < 1e-7);
    assert!(scalar(&released(&student, &teacher, mask, Stream::Vision, Pooling::Width)) > text * 1.1);
}

#[test]
fn distillation_does_not_see_padding() {
    let golden = golden("distillation");
    let student = maps(&golden, "student");
    let teacher = maps(&golden, "teacher");
    let mask = &golden["mask"];
    // The longer maps have two more positions, which are padding with other values.
    let longer = |maps: &[Tensor]| -> Vec<Tensor> {
        let more = |map: &Tensor| map.pad_with_same(2, 0, 2).unwrap().pad_with_same(3, 0, 2).unwrap();
        maps.iter().map(more).collect()
    };
    let long_mask = mask.pad_with_zeros(1, 0, 2).unwrap();
    let near = |a: &Tensor, b: &Tensor| assert!((scalar(a) / scalar(b) - 1.0).abs() < 1e-6, "{a} {b}");
    for (_, pooling) in POOLINGS {
        let short = pool(&teacher, mask, pooling).unwrap();
        let long = pool(&longer(&teacher), &long_mask, pooling).unwrap();
        let positions = long.dim(4).unwrap();
        let real = short.dim(4).unwrap();
        assert_eq!(values(&long.narrow(4, real, positions - real).unwrap()).iter().sum::<f32>(), 0.0);
        let losses = [(&student, mask, &short), (&longer(&student), &long_mask, &long)].map(|(maps, mask, teacher)| {
            attention_distillation(&pool(maps, mask, pooling).unwrap(), teacher, mask, pooling).unwrap()
        });
        near(&losses[0], &losses[1]);
        for stream in STREAMS.into_iter().filter(|_| pooling != Pooling::None) {
            let short = released(&student, &teacher, mask, stream, pooling);
            near(&short, &released(&longer(&student), &longer(&teacher), &long_mask, stream, pooling));
        }
    }
}

#[test]
fn pooled_maps_have_their_place() {
    let map = Tensor::new(&[[[[1f32, 2.0], [3.0, 4.0]]]], &Device::Cpu).unwrap();
    let mask = Tensor::new(&[[1u32, 1]], &Device::Cpu).unwrap();
    let pooled = pool(&[map.clone(), (map * 10.0).unwrap()], &mask, Pooling::Both).unwrap();
    assert_eq!(pooled.dims(), [1, 2, 2, 1, 2]);
    assert_eq!(values(&pooled), [1.5, 3.5, 2.0, 3.0, 15.0, 35.0, 20.0, 30.0]);
}

#[test]
fn gradient_coefficients_equal_pytorch() {
    let golden = golden("modulation");
    let [text, vision, gold, items] = ["text", "vision", "gold", "items"].map(|name| &golden[name]);
    let allowed: Vec<bool> = golden["allowed"].to_vec1::<u32>().unwrap().into_iter().map(|on| on != 0).collect();
    let found = |text: &Tensor, vision: &Tensor, items: &Tensor, labels: Option<&[bool]>| {
        let sums = values(&sums(text, vision, gold, items, labels).unwrap());
        Coefficients::new(ratio([sums[0], sums[1]]), 0.3)
    };
    for (name, labels) in [("all", None), ("allowed", Some(allowed.as_slice()))] {
        let coefficients = |text, vision| found(text, vision, items, labels);
        let found = coefficients(text, vision);
        let ours = Tensor::new(&[found.text as f32, found.vision as f32], &Device::Cpu).unwrap();
        let error = close(name, &ours, &golden[&format!("coefficients.{name}")]);
        println!("coefficients over {name} labels: {error:.1e}");
        let swapped = coefficients(vision, text);
        assert_eq!((swapped.text, swapped.vision), (found.vision, found.text));
    }
    let nothing = found(text, vision, &items.zeros_like().unwrap(), None);
    assert_eq!((nothing.text, nothing.vision), (1.0, 1.0));
}

#[test]
fn modulation_scales_and_adds_noise_of_the_gradients_own_deviation() {
    let grad = Tensor::from_vec((0..200_000).map(|n| (n % 7) as f32).collect(), (400, 500), &Device::Cpu).unwrap();
    let modulated = |grad: &Tensor, factor: f64, noise: Option<u64>| {
        let var = Var::from_tensor(grad).unwrap().as_tensor().clone();
        let mut grads = backward(&(&var * grad).unwrap().sum_all().unwrap()).unwrap();
        let balance = Balance::Known(Coefficients { text: factor, vision: 1.0 });
        modulate(&mut grads, &[Change { var: var.clone(), stream: Stream::Text, noise }], &balance).unwrap();
        grads.remove(&var).unwrap()
    };
    assert_eq!(values(&modulated(&grad, 0.25, None)), values(&(&grad * 0.25).unwrap()));
    let draw = |seed| modulated(&grad, 0.25, Some(seed));
    assert_eq!(values(&draw(1)), values(&draw(1)));
    let noise = (draw(1) - (&grad * 0.25).unwrap()).unwrap();
    let other = (draw(2) - (&grad * 0.25).unwrap()).unwrap();
    let mean = |x: &Tensor| scalar(&x.mean_all().unwrap());
    // The values 0..6 in turn have variance 4. The noise of two seeds, and of distant neighbours, is not correlated.
    assert!(mean(&noise).abs() < 0.03 && (mean(&noise.sqr().unwrap()) - 4.0).abs() < 0.05);
    assert!(mean(&(&noise * other).unwrap()).abs() < 0.05);
    let halves = (noise.narrow(0, 0, 200).unwrap() * noise.narrow(0, 200, 200).unwrap()).unwrap();
    assert!(mean(&halves).abs() < 0.05);
    let one = Tensor::new(&[3f32], &Device::Cpu).unwrap();
    assert_eq!(values(&modulated(&one, 1.0, Some(1))), [3.0]);
}
