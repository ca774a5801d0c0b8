//! LMC against tensors of its authors' own modules (cases `lmc-re` and `lmc-ner`): what the network computes, loss and
//! gradients, the balance of the streams, the distillation, a trajectory over several tasks.
//!
//! The method is `lmc-released` with the authors' form of three things that it has otherwise on purpose
//! (`crate::methods::lmc` says why): the bracket in the text's own scores for relations, padding in the distilled maps,
//! and a CRF over word pieces, for which the pieces of a row are taken as its words.

mod distillation;
mod gradients;
pub(super) mod names;
mod trajectory;

use candle_core::{D, DType, Device, Tensor};
use mkgc_builder::corpus::Extraction;
use mkgc_models::encoders::{BertConfig, ClipVisionConfig};
use mkgc_models::inputs::{Pixels, Stream};
use mkgc_models::losses::distillation::{Pooling, pool_released};
use mkgc_models::losses::modulation::Coefficients;
use mkgc_models::mode::Mode;
use mkgc_models::networks::Key;
use mkgc_models::ops::Ids;
use serde_json::Value;

use super::{AuthorsCase, Errors, FORWARD, each, example, load, rows};
use crate::config::{Config, VisualSetting};
use crate::data::{Batch, Example};
use crate::learner::{Architecture, Forward, Learner};
use crate::methods::lmc::{Balanced, Teacher};
use crate::methods::registry::find;
use crate::methods::shared::training::Objective;

/// What the authors add to the logits of padding.
const PADDING: f64 = -10_000.0;

#[test]
fn authors_lmc_re() {
    each("lmc-re", |case, errors| check(&AuthorsLmc::new(case, Extraction::Relations), errors));
}

#[test]
fn authors_lmc_ner() {
    each("lmc-ner", |case, errors| check(&AuthorsLmc::new(case, Extraction::Entities), errors));
}

fn check(lmc: &AuthorsLmc<'_>, errors: &mut Errors) {
    outputs(lmc, errors);
    gradients::check(lmc, errors);
    distillation::check(lmc, errors);
    trajectory::check(lmc, errors);
}

/// A case with its settings and its pool of rows.
struct AuthorsLmc<'a> {
    case: &'a AuthorsCase,
    kind: Extraction,
    config: Config,
    pool: Vec<Example>,
    /// Names of parameters whose gradient is zero in exact arithmetic.
    noise_driven: Vec<&'a str>,
}

impl<'a> AuthorsLmc<'a> {
    fn new(case: &'a AuthorsCase, kind: Extraction) -> Self {
        let noise = &case.json["noise_driven"];
        let lists = ["parameters_in_the_trajectory", "float32_gradient_relative_error_meaningless"];
        let named = lists.iter().filter_map(|list| noise[list].as_array()).flatten();
        let noise_driven = named.filter_map(Value::as_str).map(|name| name.trim_start_matches("g.")).collect();
        Self { case, kind, config: settings(case, kind), pool: pool(case, kind), noise_driven }
    }

    /// A network with the authors' weights.
    fn learner(&self) -> Learner {
        let learner =
            super::learner(self.kind, Architecture::Dual, shapes(self.case), self.case.size("classes"), &self.config);
        load(&learner, names::values(self.case, self.kind));
        learner
    }

    /// Rows of the pool as the authors pad them: all to one length.
    fn batch(&self, rows: &[usize]) -> Batch<'_> {
        let pick = |name: &str| {
            let index: Vec<u32> = rows.iter().map(|row| *row as u32).collect();
            let tensor = self.case.tensor(name);
            let tensor =
                if tensor.dtype() == DType::I64 { tensor.to_dtype(DType::U32).unwrap() } else { tensor.clone() };
            tensor.index_select(&Tensor::new(index, &Device::Cpu).unwrap(), 0).unwrap()
        };
        let mut batch = Batch::new(rows.iter().map(|row| &self.pool[*row]).collect(), 0, &Device::Cpu).unwrap();
        (batch.ids, batch.mask) = (Ids::read(&pick("in.ids")).unwrap(), pick("in.mask"));
        if self.kind == Extraction::Entities {
            let length = batch.ids.tensor().dim(1).unwrap() as u32;
            let positions = Tensor::arange(0, length, &Device::Cpu).unwrap();
            batch.anchors = positions.unsqueeze(0).unwrap().repeat((rows.len(), 1)).unwrap();
        }
        let grounding = self.case.unblocked(&pick("in.aux"));
        let detected = self.case.unblocked(&pick("in.rcnn"));
        batch.pixels = Some(Pixels::Crops { grounding, detected });
        batch
    }

    fn forward_batch(&self) -> Batch<'_> {
        self.batch(&rows(&self.case.json["config"]["forward_rows"]))
    }

    /// The authors' softmax runs over all labels.
    fn allowed(&self) -> Vec<bool> {
        vec![true; self.case.size("classes")]
    }

    fn objective(&'a self, teacher: Option<&'a Teacher>) -> Balanced<'a> {
        self.objective_of(&self.config, teacher)
    }

    fn objective_of<'b>(&self, config: &'b Config, teacher: Option<&'b Teacher>) -> Balanced<'b> {
        let mut objective = Balanced::new(config, teacher, 0, "current");
        objective.bracketed = self.kind == Extraction::Relations;
        objective
    }

    /// ρ of the vision stream, which the objective does not compute where α is 0.
    fn ratio(&self, learner: &Learner, batch: &Batch<'_>) -> f64 {
        let config = Config { alpha: 1.0, ..self.config.clone() };
        let mut objective = self.objective_of(&config, None);
        objective.loss(learner, batch, &self.allowed(), &mut Mode::Eval).unwrap();
        objective.ratio
    }

    /// Pairs of ours and theirs, without the parameters whose gradient is zero but for rounding.
    fn sound<'b>(
        &'b self,
        names: &'b [&str],
        ours: &'b [f64],
        theirs: &'b [f64],
    ) -> impl Iterator<Item = (f64, f64)> + Clone + 'b {
        let pairs = ours.iter().copied().zip(theirs.iter().copied());
        names.iter().zip(pairs).filter(|(name, _)| !self.noise_driven.contains(name)).map(|(_, pair)| pair)
    }

    /// Place of a shared layer among the maps.
    fn layer(&self, number: &str) -> usize {
        let number: usize = number.parse().unwrap();
        shared_layers(self.case).iter().position(|layer| *layer == number).unwrap()
    }
}

/// A number of `hyperparameters`, whose keys may say more than the name.
fn hyperparameter(case: &AuthorsCase, name: &str) -> Option<f64> {
    let rates = case.json["hyperparameters"].as_object().unwrap();
    let found = rates.iter().find(|(key, _)| *key == name || key.starts_with(&format!("{name} ")));
    found.and_then(|(_, value)| value.as_f64())
}

pub(super) fn shared_layers(case: &AuthorsCase) -> Vec<usize> {
    let layers = rows(&case.json["config"]["shared_layers"]);
    let depth = case.size("layers_text");
    let count = layers.len();
    assert!(layers.iter().copied().eq(depth - count..depth), "shared layers {layers:?} are not the last of {depth}");
    layers
}

fn pooling(name: &str) -> Pooling {
    serde_json::from_value(name.into()).unwrap()
}

fn settings(case: &AuthorsCase, kind: Extraction) -> Config {
    let rate = |name: &str| hyperparameter(case, name).unwrap_or_else(|| panic!("no {name} in hyperparameters"));
    let lr = rate("lr");
    let types = &case.json["hyperparameters"]["type_text/type_vision in the trajectory"];
    Config {
        lr_encoder: lr,
        lr_head: hyperparameter(case, "crf_lr").unwrap_or(lr),
        lr_key: rate("key_lr"),
        lr_bias: rate("bias_lr"),
        weight_decay: case.weight_decay(),
        clip_norm: 0.0,
        head_dropout: case.json["config"]["dropout"].as_f64().unwrap(),
        max_length: case.tensor(&format!("w.share.text_bias.{}", shared_layers(case)[0])).dim(1).unwrap(),
        visual: VisualSetting::Crops,
        shared_layers: shared_layers(case).len(),
        key: Key::Released,
        pooling: pooling(types.as_str().unwrap_or("width")),
        lambda: rate("gamma"),
        alpha: rate("alpha"),
        noise: false,
        ..find("lmc-released").unwrap().config(kind)
    }
}

pub(super) fn shapes(case: &AuthorsCase) -> (BertConfig, Option<ClipVisionConfig>) {
    let config = &case.json["config"];
    let number = |key: &str| config[key].as_f64().unwrap();
    let act = |key: &str| config[key].as_str().unwrap().split_whitespace().next().unwrap().to_owned();
    let table = |name: &str| case.tensor(&format!("w.model.text_embeddings.{name}.weight")).dim(0).unwrap();
    let text = BertConfig {
        vocab_size: table("word_embeddings"),
        hidden_size: case.size("hidden"),
        num_hidden_layers: case.size("layers_text"),
        num_attention_heads: case.size("heads"),
        intermediate_size: case.size("text_intermediate"),
        hidden_act: act("text_act"),
        hidden_dropout_prob: number("dropout"),
        attention_probs_dropout_prob: number("dropout"),
        max_position_embeddings: table("position_embeddings"),
        type_vocab_size: table("token_type_embeddings"),
        layer_norm_eps: number("text_layer_norm_eps"),
        ..BertConfig::default()
    };
    let vision = ClipVisionConfig {
        hidden_size: case.size("hidden"),
        intermediate_size: case.size("vision_intermediate"),
        num_hidden_layers: case.size("layers_vision"),
        num_attention_heads: case.size("heads"),
        patch_size: case.size("patch"),
        hidden_act: act("vision_act"),
        layer_norm_eps: number("vision_layer_norm_eps"),
        attention_dropout: number("dropout"),
        ..ClipVisionConfig::default()
    };
    (text, Some(vision))
}

/// The rows of the pool. RE: one label, and no anchors that the head would read. NER: every piece is a word.
pub(super) fn pool(case: &AuthorsCase, kind: Extraction) -> Vec<Example> {
    let table = |name: &str| -> Vec<Vec<u32>> {
        let tensor = case.tensor(name).to_dtype(DType::U32).unwrap();
        if tensor.rank() == 1 { tensor.unsqueeze(1).unwrap() } else { tensor }.to_vec2().unwrap()
    };
    let ids = table("in.ids");
    let masks = table("in.mask");
    let labels = table("in.labels");
    let row = |id: usize| {
        let length = masks[id].iter().filter(|on| **on != 0).count();
        let anchors = if kind == Extraction::Relations { vec![0, 0] } else { (0..length as u32).collect() };
        let gold = labels[id].iter().copied().take(length).collect();
        example(id, ids[id][..length].to_vec(), anchors, gold)
    };
    (0..ids.len()).map(row).collect()
}

/// Compares every tensor below `out.`.
fn outputs(lmc: &AuthorsLmc<'_>, errors: &mut Errors) {
    let learner = lmc.learner();
    let batch = lmc.forward_batch();
    let allowed = lmc.allowed();
    let forward = learner.forward(&batch, &mut Mode::Eval).unwrap();
    let scores = learner.scores(&forward.features).unwrap();
    let mut objective = lmc.objective(None);
    let loss = objective.loss(&learner, &batch, &allowed, &mut Mode::Eval).unwrap();
    let hidden = lmc.case.size("hidden");
    let half = |start| forward.features.narrow(D::Minus1, start, hidden).unwrap();
    let number = |value: f64| Tensor::new(&[value], &Device::Cpu).unwrap();
    for (name, theirs) in lmc.case.below("out.") {
        let ours = match name {
            "logits" | "emissions" => scores.clone(),
            "text_state" => half(0),
            "vision_state" | "vision_in_text" => half(hidden),
            "loss" => loss.clone(),
            "ratio_vision" => number(lmc.ratio(&learner, &batch)),
            "coeff_vision" => number(objective.coefficients.vision),
            "coeff_text" => number(objective.coefficients.text),
            "coeffs" => coefficients(lmc, &learner, theirs),
            "position_embedding" => {
                let table = learner.params().tensors().unwrap()["embeddings.position_embeddings.weight"].clone();
                table.narrow(0, 0, theirs.dim(1).unwrap()).unwrap()
            }
            "decoded" => decoded(&learner, &batch, &scores, &allowed),
            _ => maps(lmc, &forward, &batch, name),
        };
        errors.tensor(&format!("out.{name}"), &ours, theirs, FORWARD);
        if name.starts_with("att_text.") || name.starts_with("pool_text_") {
            let (ours, theirs) = (real_keys(&ours, &batch), real_keys(theirs, &batch));
            errors.tensor(&format!("out.{name} (real keys)"), &ours, &theirs, FORWARD);
        }
    }
}

/// A map, or sums over one, of the text's first rows with zeros at padded keys: what is added there would hide every
/// error of the other ones.
fn real_keys(map: &Tensor, batch: &Batch<'_>) -> Tensor {
    let real = batch.mask.narrow(0, 0, map.dim(0).unwrap()).unwrap().to_dtype(map.dtype()).unwrap();
    let middle = vec![1; map.rank() - 2];
    let shape = [&[real.dim(0).unwrap()], middle.as_slice(), &[real.dim(1).unwrap()]].concat();
    map.broadcast_mul(&real.reshape(shape).unwrap()).unwrap()
}

/// Attention maps (`att_STREAM.LAYER`, first row) and their sums (`pool_STREAM_DIRECTION.LAYER`), the text's with what
/// is added at padding.
fn maps(lmc: &AuthorsLmc<'_>, forward: &Forward, batch: &Batch<'_>, name: &str) -> Tensor {
    let (what, layer) = name.rsplit_once('.').unwrap_or_else(|| panic!("`out.{name}` is not known"));
    let parts: Vec<&str> = what.split('_').collect();
    let (stream, maps) =
        if parts[1] == "text" { (Stream::Text, &forward.text_maps) } else { (Stream::Vision, &forward.vision_maps) };
    let map = &maps[lmc.layer(layer)];
    let (_, heads, length, _) = map.dims4().unwrap();
    let all = Tensor::ones((batch.examples.len(), length), DType::U32, &Device::Cpu).unwrap();
    let (sums, terms) = match parts[..] {
        ["att", _] => (map.clone(), 1),
        ["pool", _, direction] => {
            let pooled = pool_released(std::slice::from_ref(map), &all, stream, pooling(direction)).unwrap();
            let terms = if (stream, direction) == (Stream::Text, "height") { heads } else { length };
            ((pooled[0].squeeze(1).unwrap() * terms as f64).unwrap(), terms)
        }
        _ => panic!("`out.{name}` is not known"),
    };
    let sums = if stream == Stream::Text {
        let masked = ((all.to_dtype(DType::F32).unwrap() - batch.mask.to_dtype(DType::F32).unwrap()).unwrap()
            * (PADDING * terms as f64))
            .unwrap();
        sums.broadcast_add(&masked.unsqueeze(1).unwrap().unsqueeze(1).unwrap()).unwrap()
    } else {
        sums
    };
    if parts[0] == "att" { sums.narrow(0, 0, 1).unwrap() } else { sums }
}

/// Paths of tags, -1 beyond a row's end.
fn decoded(learner: &Learner, batch: &Batch<'_>, scores: &Tensor, allowed: &[bool]) -> Tensor {
    let length = batch.ids.tensor().dim(1).unwrap();
    let paths = learner.decide(scores, batch, allowed).unwrap();
    let path = |labels: Vec<u32>| labels.into_iter().map(f64::from).chain(std::iter::repeat(-1.0)).take(length);
    let values: Vec<f64> = paths.into_iter().flat_map(|path_of| path(path_of.labels).collect::<Vec<_>>()).collect();
    Tensor::from_vec(values, (batch.examples.len(), length), &Device::Cpu).unwrap()
}

/// Rows of [alpha, vision, text], each alpha on the sets of rows that the description lists, in turn.
fn coefficients(lmc: &AuthorsLmc<'_>, learner: &Learner, theirs: &Tensor) -> Tensor {
    let guide = lmc.case.json["how_to_read"].as_object().unwrap();
    let (_, text) = guide.iter().find(|(key, _)| key.contains("coeff_vision")).unwrap();
    let lists = text.as_str().unwrap().split_once("each on rows").unwrap().1.split('[').skip(1);
    let ratios: Vec<f64> = lists
        .map(|list| {
            let rows = list.split(']').next().unwrap().split(',').map(|row| row.trim().parse().unwrap());
            lmc.ratio(learner, &lmc.batch(&rows.collect::<Vec<usize>>()))
        })
        .collect();
    let rows = theirs.to_vec2::<f32>().unwrap().into_iter().zip(ratios.iter().cycle());
    let values = rows.flat_map(|(row, ratio)| {
        let found = Coefficients::new(*ratio, f64::from(row[0]));
        [f64::from(row[0]), found.vision, found.text]
    });
    Tensor::from_vec(values.collect::<Vec<f64>>(), theirs.dims(), &Device::Cpu).unwrap()
}
