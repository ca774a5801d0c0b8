//! What the cases of RP-CRE and EMAR-BERT share: a small BERT with entity markers and a feature layer, the authors'
//! names of its variables, trajectories.

use std::collections::BTreeMap;

use candle_core::backprop::GradStore;
use candle_core::{DType, Device, Tensor, Var};
use mkgc_builder::corpus::Extraction;
use mkgc_models::encoders::BertConfig;
use mkgc_models::mode::Mode;
use serde_json::Value;

use super::{AuthorsCase, Errors, TRAJECTORY, example};
use crate::config::Config;
use crate::data::{Batch, Example};
use crate::error::Result;
use crate::learner::{Architecture, Learner};
use crate::methods::registry::find;
use crate::methods::shared::training::Objective;

/// The method's own settings, without dropout, with the case's rates and sizes. The case calls the head `head`.
pub fn settings(case: &AuthorsCase, method: &str, head: &str) -> Config {
    let optimiser = case.json["hyperparameters"].as_str().unwrap();
    assert!(optimiser.contains("no weight decay"), "another optimiser: {optimiser}");
    Config {
        lr_encoder: stated(case, "encoder "),
        lr_head: stated(case, head),
        head_dropout: 0.0,
        max_length: case.size("len"),
        ..find(method).unwrap().config(Extraction::Relations)
    }
}

/// The number that follows these words in the description's settings, which are a sentence.
pub fn stated(case: &AuthorsCase, words: &str) -> f64 {
    let text = case.json["hyperparameters"].as_str().unwrap();
    let (_, rest) = text.split_once(words).unwrap_or_else(|| panic!("no `{words}` in: {text}"));
    let end = rest.find(|letter: char| !letter.is_ascii_digit() && !".e-".contains(letter));
    rest[..end.unwrap_or(rest.len())].trim_end_matches('.').parse().unwrap()
}

/// A network of the case's shape over its `N` classes.
pub fn learner(case: &AuthorsCase, config: &Config) -> Learner {
    let text = BertConfig {
        vocab_size: case.size("vocab") + MARKERS,
        hidden_size: case.size("hidden"),
        num_hidden_layers: case.size("layers"),
        num_attention_heads: case.size("heads"),
        intermediate_size: case.size("ff"),
        max_position_embeddings: case.size("max_pos"),
        layer_norm_eps: case.json["config"]["eps"].as_f64().unwrap(),
        hidden_dropout_prob: 0.0,
        attention_probs_dropout_prob: 0.0,
        ..BertConfig::default()
    };
    super::learner(Extraction::Relations, Architecture::Text, (text, None), case.size("N"), config)
}

/// `[E11]`, `[E12]`, `[E21]`, `[E22]` follow the vocabulary.
const MARKERS: usize = 4;

/// Our name of a variable of the authors' encoder, named from that module on.
pub fn encoder_name(name: &str) -> String {
    let layers = [("linear_transform.", "head.dense."), ("layer_normalization.", "head.norm.")];
    match layers.into_iter().find_map(|(theirs, ours)| Some(format!("{ours}{}", name.strip_prefix(theirs)?))) {
        Some(ours) => ours,
        None => name.strip_prefix("encoder.").unwrap_or_else(|| panic!("`{name}` is no name of an encoder")).to_owned(),
    }
}

/// Tokens without the padding at their end, whose id is 0.
pub fn unpadded(tokens: &[u32]) -> &[u32] {
    &tokens[..tokens.iter().rposition(|id| *id != 0).map_or(0, |last| last + 1)]
}

/// A row of the authors' tokens; the head reads `[E11]` and `[E21]`.
pub fn row(case: &AuthorsCase, number: usize, tokens: &[u32], label: u32) -> Example {
    let place = |marker: usize| {
        let id = (case.size("vocab") + marker) as u32;
        tokens.iter().position(|token| *token == id).unwrap_or_else(|| panic!("row {number} lacks marker {id}")) as u32
    };
    example(number, tokens.to_vec(), vec![place(0), place(2)], vec![label])
}

/// The rows of `in.tokens`, with the labels of `in.labels` where the case has them.
pub fn rows(case: &AuthorsCase) -> Vec<Example> {
    let labels = case.tensors.contains_key("in.labels").then(|| integers(case, "in.labels"));
    let label = |number: usize| labels.as_ref().map_or(0, |labels| labels[number]);
    let tokens = matrix(case, "in.tokens");
    tokens.iter().enumerate().map(|(n, tokens)| row(case, n, unpadded(tokens), label(n))).collect()
}

/// Rows of a tensor of integers.
pub fn matrix(case: &AuthorsCase, name: &str) -> Vec<Vec<u32>> {
    case.tensor(name).to_dtype(DType::U32).unwrap().to_vec2().unwrap()
}

/// Values of a tensor of integers.
pub fn integers(case: &AuthorsCase, name: &str) -> Vec<u32> {
    case.tensor(name).to_dtype(DType::U32).unwrap().to_vec1().unwrap()
}

/// The rows of these numbers.
pub fn chosen<'a>(rows: &'a [Example], numbers: &[usize]) -> Vec<&'a Example> {
    numbers.iter().map(|number| &rows[*number]).collect()
}

/// Pads rows into a batch.
pub fn batch<'a>(examples: &[&'a Example]) -> Batch<'a> {
    Batch::new(examples.to_vec(), 0, &Device::Cpu).unwrap()
}

/// The first `{…}` of a text, a Python dictionary of lists.
pub fn dictionary(text: &str) -> Value {
    let (start, end) = (text.find('{').unwrap(), text.find('}').unwrap());
    serde_json::from_str(&text[start..=end].replace('\'', "\"")).unwrap()
}

/// What stands between `before` and the next `]` in a text.
pub fn index<'a>(text: &'a str, before: &str) -> &'a str {
    text.split_once(before).unwrap_or_else(|| panic!("`{before}` is not in `{text}`")).1.split(']').next().unwrap()
}

/// Returns the row numbers of `start:end`.
pub fn range(text: &str) -> Vec<usize> {
    let (start, end) = text.split_once(':').unwrap();
    (start.parse().unwrap_or(0)..end.parse().unwrap()).collect()
}

/// A gradient that is zero in exact arithmetic, which Adam makes steps of rounding noise of.
pub fn noise_driven(name: &str) -> bool {
    name.ends_with("attention.self.key.bias") || name.ends_with("k_layernorm.bias")
}

/// Gradients by name; zeros where there are none.
pub fn gradients(vars: &[(String, Var)], grads: &GradStore) -> BTreeMap<String, Tensor> {
    let of = |var: &Var| grads.get(var.as_tensor()).cloned().unwrap_or_else(|| var.zeros_like().unwrap());
    vars.iter().map(|(name, var)| (name.clone(), of(var))).collect()
}

/// Copies of the values of variables by name.
pub fn values(vars: &[(String, Var)]) -> BTreeMap<String, Tensor> {
    vars.iter().map(|(name, var)| (name.clone(), var.as_tensor().copy().unwrap())).collect()
}

/// Computes the L2 norm of tensors together, in f64.
pub fn norm<'a>(tensors: impl IntoIterator<Item = &'a Tensor>) -> f64 {
    let squares = |tensor: &Tensor| {
        let wide = tensor.to_dtype(DType::F64).unwrap();
        wide.sqr().unwrap().sum_all().unwrap().to_scalar::<f64>().unwrap()
    };
    tensors.into_iter().map(squares).sum::<f64>().sqrt()
}

/// An objective that notes the norm of the gradient of each set of variables before the optimiser clips it.
pub struct NormsBeforeClipping<'a> {
    objective: &'a mut dyn Objective,
    sets: &'a [Vec<Var>],
    pub norms: Vec<f64>,
}

impl<'a> NormsBeforeClipping<'a> {
    pub fn new(objective: &'a mut dyn Objective, sets: &'a [Vec<Var>]) -> Self {
        Self { objective, sets, norms: Vec::new() }
    }
}

impl Objective for NormsBeforeClipping<'_> {
    fn loss(&mut self, learner: &Learner, batch: &Batch, allowed: &[bool], mode: &mut Mode<'_>) -> Result<Tensor> {
        self.objective.loss(learner, batch, allowed, mode)
    }

    fn adjust(&mut self, learner: &Learner, grads: &mut GradStore) -> Result<()> {
        self.objective.adjust(learner, grads)?;
        let of = |set: &Vec<Var>| norm(set.iter().filter_map(|var| grads.get(var.as_tensor())));
        self.norms.extend(self.sets.iter().map(of));
        Ok(())
    }
}

/// The variables whose names `belongs` accepts.
pub fn set(vars: &[(String, Var)], belongs: impl Fn(&str) -> bool) -> Vec<Var> {
    vars.iter().filter(|(name, _)| belongs(name)).map(|(_, var)| var.clone()).collect()
}

/// Compares a number for each name of an order with the tensor of a name, without names that `left` leaves out.
pub fn listed(
    case: &AuthorsCase,
    errors: &mut Errors,
    (quantity, order): (&str, &str),
    ours: impl Fn(&str) -> f64,
    left: impl Fn(&str) -> bool,
) {
    let names = case.order(order);
    let theirs = case.values(quantity);
    assert_eq!(names.len(), theirs.len(), "{quantity}");
    let sound = names.into_iter().zip(theirs).filter(|(name, _)| !left(name));
    let (ours, theirs): (Vec<f64>, Vec<f64>) = sound.map(|(name, theirs)| (ours(name), f64::from(theirs))).unzip();
    errors.norms(quantity, &ours, &theirs, TRAJECTORY);
}

/// Compares a tensor that the case may hold.
pub fn compare(case: &AuthorsCase, errors: &mut Errors, name: &str, ours: &Tensor, bar: f64) {
    if let Some(theirs) = case.tensors.get(name) {
        errors.tensor(name, ours, theirs, bar);
    }
}

/// Fails if the case holds a result that was not compared and that `left` does not leave out.
pub fn all_compared(case: &AuthorsCase, errors: &Errors, left: impl Fn(&str) -> bool) {
    let given =
        |name: &str| ["in.", "w.", "f32."].iter().any(|part| name.starts_with(part)) || name.contains(".start.");
    for name in case.tensors.keys().filter(|name| !given(name) && !left(name)) {
        let name = name.strip_suffix(".blocks").unwrap_or(name);
        let compared = |(quantity, ..): &(String, f64, f64)| quantity == name;
        assert!(errors.rows.iter().any(compared), "{}: `{name}` was not compared", case.name);
    }
}

/// What a trajectory ended with: `PREFIX.final.*`, and norms and changes of the names in `order`. `of` gives one of the
/// authors' tensors from values by our names.
pub fn ended(
    case: &AuthorsCase,
    errors: &mut Errors,
    prefix: &str,
    order: &[(String, String)],
    (start, end): (&BTreeMap<String, Tensor>, &BTreeMap<String, Tensor>),
    of: impl Fn(&BTreeMap<String, Tensor>, &str) -> Tensor,
) {
    for (name, theirs) in case.below(&format!("{prefix}.final.")).filter(|(name, _)| !noise_driven(name)) {
        errors.tensor(&format!("{prefix}.final.{name}"), &of(end, name), theirs, TRAJECTORY);
    }
    for (names, quantity) in order {
        let norms = format!("{prefix}.{quantity}norm");
        let changes = format!("{prefix}.{quantity}change");
        listed(case, errors, (&norms, names), |name| norm([&of(end, name)]), noise_driven);
        let change = |name: &str| norm([&(of(end, name) - of(start, name)).unwrap()]);
        listed(case, errors, (&changes, names), change, noise_driven);
    }
}
