//! Properties of networks with a vision stream: every variable trains, the published shared key has no effect, streams
//! without shared layers equal plain encoders, and shapes that do not match are refused.
#![allow(clippy::unwrap_used)]

mod common;

use candle_core::{DType, Device, Tensor};
use mkgc_models::encoders::{Bert, BertConfig, ClipVisionConfig, states_at};
use mkgc_models::heads::{EntityHead, JointEntityHead, JointRelationHead, MarkerHead, StreamSizes};
use mkgc_models::inputs::{Inputs, Pixels, Visual};
use mkgc_models::losses::masked_cross_entropy;
use mkgc_models::mode::{DropoutRng, Mode};
use mkgc_models::networks::{Dual, DualConfig, Encoded, Key, Mkgformer, MkgformerConfig, Network};
use mkgc_models::ops::{Ids, backward};
use mkgc_models::optim::{AdamW, AdamWConfig, ParamGroup};
use mkgc_models::params::ParamStore;

use common::{error, norm};

const KEYS: [Key; 4] = [Key::Own, Key::Matrix, Key::Vector, Key::Released];
const SIZES: StreamSizes = StreamSizes { text: 24, vision: 24 };

fn text() -> BertConfig {
    BertConfig {
        hidden_size: 24,
        num_hidden_layers: 2,
        num_attention_heads: 2,
        intermediate_size: 48,
        vocab_size: 20,
        max_position_embeddings: 16,
        ..BertConfig::default()
    }
}

fn vision() -> ClipVisionConfig {
    ClipVisionConfig {
        hidden_size: 24,
        num_hidden_layers: 2,
        num_attention_heads: 2,
        intermediate_size: 48,
        image_size: 64,
        ..ClipVisionConfig::default()
    }
}

fn dual(key: Key, visual: Visual) -> DualConfig {
    DualConfig { text: text(), vision: vision(), visual, shared_layers: 1, key, max_text: 6 }
}

fn mkgformer() -> MkgformerConfig {
    let text = text();
    let vision = vision();
    MkgformerConfig { text, vision, visual: Visual::Image, interaction_layers: 1, mask_text_padding: true }
}

fn store() -> ParamStore {
    ParamStore::new(7, Device::Cpu)
}

fn tensor<const N: usize>(rows: [[u32; N]; 2]) -> Tensor {
    Tensor::new(&rows, &Device::Cpu).unwrap()
}

fn waves(shape: &[usize]) -> Tensor {
    let values: Vec<f32> = (0..shape.iter().product()).map(|n: usize| (n as f32 * 0.37).sin()).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

fn pixels(visual: Visual) -> Pixels {
    match visual {
        Visual::Image => Pixels::Image(waves(&[2, 3, 64, 64])),
        Visual::Crops => Pixels::Crops { grounding: waves(&[2, 3, 3, 128, 128]), detected: waves(&[2, 3, 3, 64, 64]) },
    }
}

/// Passes a batch of two rows to `run`.
fn with_inputs(visual: Visual, run: impl FnOnce(&Inputs<'_>) -> candle_core::Result<Encoded>) -> Encoded {
    let ids = Ids::read(&tensor([[1, 2, 3, 4], [5, 6, 7, 0]])).unwrap();
    let mask = tensor([[1, 1, 1, 1], [1, 1, 1, 0]]);
    run(&Inputs { ids: &ids, mask: &mask, pixels: Some(&pixels(visual)), dtype: DType::F32 }).unwrap()
}

fn encode(network: &Network, visual: Visual, mode: &mut Mode<'_>) -> Encoded {
    with_inputs(visual, |inputs| network.forward(inputs, mode))
}

/// The last layer computes only what is read: the states and the gradients of all variables stay as they were.
#[test]
fn reading_some_positions_gives_their_states_and_gradients() {
    type Make = fn(&ParamStore) -> Network;
    let makes: [(&str, Make); 3] = [
        ("BERT", |store| Network::Text(Bert::new(&text(), store.builder()).unwrap())),
        ("dual", |store| Network::Dual(Dual::new(&dual(Key::Matrix, Visual::Image), store.builder()).unwrap())),
        ("MKGformer", |store| Network::Mkgformer(Mkgformer::new(&mkgformer(), store.builder()).unwrap())),
    ];
    let positions = tensor([[2, 0, 3], [1, 1, 2]]);
    for (name, make) in makes {
        let store = store();
        let network = make(&store);
        let all = encode(&network, Visual::Image, &mut Mode::Eval);
        let read = with_inputs(Visual::Image, |inputs| network.read(inputs, &positions, &mut Mode::Eval));
        let mut expected = vec![states_at(&all.text, &positions).unwrap()];
        let mut states = vec![read.text];
        if name == "dual" {
            expected.push(all.vision.unwrap().narrow(1, 0, 1).unwrap());
            states.push(read.vision.unwrap());
        }
        for (states, expected) in states.iter().zip(&expected) {
            assert_eq!(states.dims(), expected.dims(), "{name}");
            assert!(error(states, expected) < 1e-6, "{name}");
        }
        let gradients = |states: &[Tensor]| {
            let loss = |states: &Tensor| (states * waves(states.dims())).unwrap().sum_all().unwrap();
            let loss = states.iter().map(loss).reduce(|sum, loss| (sum + loss).unwrap()).unwrap();
            backward(&loss).unwrap()
        };
        let ours = gradients(&states);
        let theirs = gradients(&expected);
        for (variable, var) in store.vars() {
            match (ours.get(var.as_tensor()), theirs.get(var.as_tensor())) {
                // A key's bias cancels in the softmax, so its gradient is rounding alone.
                (Some(_), Some(_)) if variable.ends_with("key.bias") || variable.ends_with("k_proj.bias") => {}
                (Some(ours), Some(theirs)) => assert!(error(ours, theirs) < 1e-5, "{name}: {variable}"),
                (None, None) => {}
                _ => panic!("{name}: {variable} has a gradient on one side only"),
            }
        }
    }
}

/// Returns the names of the variables that one step of training does not move.
fn unmoved(store: &ParamStore, loss: &Tensor) -> Vec<String> {
    let before = store.tensors().unwrap();
    let group = ParamGroup { name: "all".to_owned(), vars: store.vars(), lr: 1e-2, weight_decay: 0.0 };
    AdamW::new(vec![group], AdamWConfig::default()).unwrap().step(&backward(loss).unwrap(), None).unwrap();
    let after = store.tensors().unwrap();
    before.into_iter().filter(|(name, value)| error(&after[name], value) == 0.0).map(|(name, _)| name).collect()
}

fn cross_entropy(logits: &Tensor) -> Tensor {
    masked_cross_entropy(logits, &Tensor::new(&[0u32, 3], &Device::Cpu).unwrap(), None).unwrap()
}

fn relation_loss(store: &ParamStore, encoded: &Encoded, mode: &mut Mode<'_>) -> Tensor {
    let head = JointRelationHead::new(SIZES, 5, 0.1, store.builder().pp("head")).unwrap();
    let features = head.features(&encoded.text, encoded.vision.as_ref().unwrap(), mode).unwrap();
    cross_entropy(&head.logits(&features).unwrap())
}

fn entity_loss(store: &ParamStore, encoded: &Encoded, mode: &mut Mode<'_>) -> Tensor {
    let head = JointEntityHead::new(SIZES, 5, 0.1, store.builder().pp("head")).unwrap();
    let anchors = tensor([[1, 2], [1, 2]]);
    let words = states_at(&encoded.text, &anchors).unwrap();
    let states = [&words, encoded.vision.as_ref().unwrap(), encoded.positions.as_ref().unwrap()];
    let features = head.features(states, &anchors, mode).unwrap();
    let emissions = head.emissions(&features).unwrap();
    head.crf().nll(&emissions, &[&[0, 3], &[1, 2]]).unwrap().mean_all().unwrap()
}

/// If vision states differ in width from the text's, no positions are added, so all words read the same vision state.
#[test]
fn streams_of_different_widths_leave_positions_out() {
    let sizes = StreamSizes { text: 24, vision: 12 };
    let head = JointEntityHead::new(sizes, 5, 0.0, store().builder()).unwrap();
    let text = waves(&[2, 2, 24]);
    let vision = waves(&[2, 5, 12]);
    let positions = waves(&[6, 24]);
    let features = head.features([&text, &vision, &positions], &tensor([[1, 2], [3, 0]]), &mut Mode::Eval).unwrap();
    for word in 0..2 {
        let seen = features.narrow(1, word, 1).unwrap().narrow(2, 24, 12).unwrap();
        assert_eq!(error(&seen, &vision.narrow(1, 0, 1).unwrap()), 0.0);
    }
}

/// Returns the variables of shared layers that have no effect if one key serves all positions.
fn inert(name: &str) -> bool {
    name.starts_with("shared.key.")
        || name.contains("layer.1.attention.self.query")
        || name.contains("layers.1.self_attn.q")
}

#[test]
fn every_variable_of_two_streams_moves_in_one_step() {
    type Loss = fn(&ParamStore, &Encoded, &mut Mode<'_>) -> Tensor;
    for (key, visual) in KEYS.map(|key| (key, Visual::Image)).into_iter().chain([(Key::Matrix, Visual::Crops)]) {
        for loss in [relation_loss as Loss, entity_loss] {
            let store = store();
            let mut rng = DropoutRng::new(1);
            let network = Network::Dual(Dual::new(&dual(key, visual), store.builder()).unwrap());
            let mut mode = Mode::Train(&mut rng);
            let encoded = encode(&network, visual, &mut mode);
            let still = unmoved(&store, &loss(&store, &encoded, &mut mode));
            let without_effect = |name: &String| matches!(key, Key::Vector | Key::Released) && inert(name);
            assert!(still.iter().all(without_effect), "{key:?} {visual:?}: {still:?} did not move");
        }
    }
}

/// MKGformer's heads read the text alone, whose last layer reads the last vision layer.
#[test]
fn every_variable_of_mkgformer_moves_in_one_step() {
    let markers = |store: &ParamStore, text: &Tensor, mode: &mut Mode<'_>| {
        let head = MarkerHead::new(24, 5, 0.1, store.builder().pp("head")).unwrap();
        let markers = states_at(text, &tensor([[1, 2], [1, 2]])).unwrap();
        cross_entropy(&head.logits(&head.features(&markers, mode).unwrap()).unwrap())
    };
    let entities = |store: &ParamStore, text: &Tensor, mode: &mut Mode<'_>| {
        let head = EntityHead::new(24, 5, 0.1, store.builder().pp("head")).unwrap();
        let words = states_at(text, &tensor([[1, 2], [1, 2]])).unwrap();
        let emissions = head.emissions(&head.features(&words, mode).unwrap()).unwrap();
        head.crf().nll(&emissions, &[&[0, 3], &[1, 2]]).unwrap().mean_all().unwrap()
    };
    type Loss<'a> = &'a dyn Fn(&ParamStore, &Tensor, &mut Mode<'_>) -> Tensor;
    for loss in [&markers as Loss<'_>, &entities] {
        let store = store();
        let mut rng = DropoutRng::new(1);
        let network = Network::Mkgformer(Mkgformer::new(&mkgformer(), store.builder()).unwrap());
        let mut mode = Mode::Train(&mut rng);
        let encoded = encode(&network, Visual::Image, &mut mode);
        let still = unmoved(&store, &loss(&store, &encoded.text, &mut mode));
        assert!(still.is_empty(), "{still:?} did not move");
    }
}

/// With one key for all positions, `q·k` is the same for all keys, so the softmax cancels it.
#[test]
fn the_published_shared_key_has_no_effect_and_no_gradient_but_the_matrix_has() {
    let change = |key: Key| {
        let store = store();
        let network = Network::Dual(Dual::new(&dual(key, Visual::Image), store.builder()).unwrap());
        let before = encode(&network, Visual::Image, &mut Mode::Eval);
        let grads = backward(&relation_loss(&store, &before, &mut Mode::Eval)).unwrap();
        let size = |name: &str| {
            let vars = store.vars().into_iter().filter(|(n, _)| if name.is_empty() { !inert(n) } else { n == name });
            vars.map(|(_, var)| norm(grads.get(var.as_tensor()).unwrap())).fold(0.0, f64::max)
        };
        let names = ["shared.key.1", "encoder.layer.1.attention.self.query.weight"];
        let names = names.into_iter().chain(["vision_model.encoder.layers.1.self_attn.q_proj.weight"]);
        let changes = names.map(|name| {
            let gradient = size(name) / size("");
            let (_, var) = store.vars().into_iter().find(|(n, _)| n == name).unwrap();
            let old = var.as_tensor().copy().unwrap();
            var.set(&waves(var.dims())).unwrap();
            let after = encode(&network, Visual::Image, &mut Mode::Eval);
            var.set(&old).unwrap();
            let far = |a: &Tensor, b: &Tensor| (a - b).unwrap().abs().unwrap().max_all().unwrap();
            let vision = far(after.vision.as_ref().unwrap(), before.vision.as_ref().unwrap());
            let output = far(&after.text, &before.text).maximum(&vision).unwrap().to_scalar::<f32>().unwrap();
            let maps = after.text_maps.iter().chain(&after.vision_maps);
            let maps = maps.zip(before.text_maps.iter().chain(&before.vision_maps)).map(|(a, b)| error(a, b));
            assert!(maps.fold(0.0, f64::max) > 1e-2, "{key:?} {name}: the logits do not change");
            (name, gradient, output)
        });
        changes.collect::<Vec<_>>()
    };
    for (name, gradient, output) in [Key::Released, Key::Vector].into_iter().flat_map(change) {
        assert!(gradient < 1e-8 && output < 1e-5, "{name}: gradient {gradient:e}, output changes by {output:e}");
    }
    for (name, gradient, output) in change(Key::Matrix) {
        assert!(gradient > 1e-6 && output > 1e-3, "{name}: gradient {gradient:e}, output changes by {output:e}");
    }
}

#[test]
fn streams_without_shared_layers_are_the_plain_encoders_to_the_bit() {
    let alone = store();
    let together = store();
    let bert = Network::Text(Bert::new(&text(), alone.builder()).unwrap());
    let config = DualConfig { shared_layers: 0, ..dual(Key::Matrix, Visual::Image) };
    let dual = Network::Dual(Dual::new(&config, together.builder()).unwrap());
    let alone = encode(&bert, Visual::Image, &mut Mode::Eval);
    let together = encode(&dual, Visual::Image, &mut Mode::Eval);
    let values = |states: &Tensor| states.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    assert_eq!(values(&alone.text), values(&together.text));
    assert!(alone.vision.is_none() && together.text_maps.is_empty() && together.vision_maps.is_empty());
}

#[test]
fn maps_are_those_of_the_last_layers() {
    for key in KEYS {
        let network = Network::Dual(Dual::new(&dual(key, Visual::Crops), store().builder()).unwrap());
        let encoded = encode(&network, Visual::Crops, &mut Mode::Eval);
        let shapes = |maps: &[Tensor]| maps.iter().map(|map| map.dims().to_vec()).collect::<Vec<_>>();
        assert_eq!(shapes(&encoded.text_maps), [[2, 2, 4, 4]]);
        assert_eq!(shapes(&encoded.vision_maps), [[2, 2, 61, 61]]);
    }
}

#[test]
fn streams_that_do_not_fit_are_refused() {
    let refused = |result: candle_core::Result<()>, words: &str| {
        let message = result.unwrap_err().to_string();
        assert!(message.contains(words), "{message}");
    };
    let new = |config: DualConfig| Dual::new(&config, store().builder()).map(|_| ());
    let fewer_heads = ClipVisionConfig { num_attention_heads: 1, ..vision() };
    let config = DualConfig { vision: fewer_heads.clone(), ..dual(Key::Matrix, Visual::Image) };
    refused(new(config.clone()), "share keys need the same num_attention_heads; text has 2, vision 1");
    new(DualConfig { key: Key::Own, ..config }).unwrap();
    refused(
        new(DualConfig { shared_layers: 3, ..dual(Key::Own, Visual::Image) }),
        "lower it (LMC shares 3 of 12, so 1",
    );
    let tiled = ClipVisionConfig { image_size: 70, ..vision() };
    let config = DualConfig { vision: tiled, ..dual(Key::Own, Visual::Image) };
    refused(new(config), "patches of 32 pixels do not tile 70 pixels");

    let new = |config: MkgformerConfig| Mkgformer::new(&config, store().builder()).map(|_| ());
    refused(
        new(MkgformerConfig { vision: fewer_heads, ..mkgformer() }),
        "same num_attention_heads; text has 2, vision 1",
    );
    let deeper = ClipVisionConfig { num_hidden_layers: 3, ..vision() };
    refused(new(MkgformerConfig { vision: deeper, ..mkgformer() }), "same num_hidden_layers; text has 2, vision 3");
    refused(new(MkgformerConfig { interaction_layers: 2, ..mkgformer() }), "must be below num_hidden_layers, 2");
}

#[test]
fn inputs_that_do_not_fit_are_refused() {
    let network = Network::Dual(Dual::new(&dual(Key::Matrix, Visual::Image), store().builder()).unwrap());
    let refused = |pieces: usize, pixels: Option<&Pixels>, words: &str| {
        let ids = Tensor::ones((2, pieces), DType::U32, &Device::Cpu).unwrap();
        let result = network.forward(
            &Inputs { ids: &Ids::read(&ids).unwrap(), mask: &ids, pixels, dtype: DType::F32 },
            &mut Mode::Eval,
        );
        let message = result.err().unwrap().to_string();
        assert!(message.contains(words), "{message}");
    };
    refused(4, None, "needs pixels, but got none");
    refused(4, Some(&pixels(Visual::Crops)), "sees whole images, but got crops");
    refused(
        4,
        Some(&Pixels::Image(waves(&[2, 3, 32, 32]))),
        "an image is 32×32 with 3 channels, the network needs 64×64",
    );
    refused(7, Some(&pixels(Visual::Image)), "7 positions, but the position bias has 6; raise max_text");
}
