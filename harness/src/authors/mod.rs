//! Tests against tensors that the methods' authors made with their own PyTorch code.
//!
//! `MKGC_AUTHORS` names a folder of cases, each a `NAME.json` (configuration, meaning of every tensor) and a
//! `NAME.safetensors`; without it the small cases in `tests/fixtures/authors` are read. Every test takes all shapes,
//! rates and schedules from the JSON, so that any further case of the same kinds is checked by the variable alone:
//!
//! ```sh
//! MKGC_AUTHORS=/path/to/cases cargo test --package mkgc-harness authors_ -- --nocapture
//! ```
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod bert;
mod emar;
mod ewc;
mod lmc;
mod mkgformer;
mod rp_cre;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use candle_core::{DType, Device, Tensor};
use mkgc_builder::corpus::Extraction;
use mkgc_models::encoders::{BertConfig, ClipVisionConfig};
use mkgc_models::optim::AdamWConfig;
use mkgc_models::text::WordTokenizer;
use serde_json::Value;

use crate::config::Config;
use crate::data::Example;
use crate::learner::{Architecture, EncoderSource, Learner, LearnerSpec};

/// Largest relative error of logits, losses, maps and coefficients.
pub const FORWARD: f64 = 1e-5;
/// Largest relative error of gradients.
pub const GRADIENT: f64 = 1e-4;
/// Largest relative error of trajectories.
pub const TRAJECTORY: f64 = 1e-3;

/// Largest relative error of one norm among many, where the bars above hold for all of them together: rounding moves small
/// ones further, and a wrong rate or a lost term moves them much further.
const EACH: f64 = 1e-1;

/// How much further from the authors' 64-bit result ours may be than their own code in 32 bits: both round, in other places.
const ROUNDINGS: f64 = 3.0;

/// The largest error of the authors' own code in 32 bits that raises a bar, so that no bar is higher than three times this.
const ROUNDED: f64 = 1e-2;

/// What there are cases of. A case belongs to the longest kind that its name begins with.
const KINDS: [&str; 7] = ["lmc-re", "lmc-ner", "mkgformer-re", "mkgformer-ner", "rp-cre", "emar-bert", "ewc-re"];

/// One case: its description and its tensors.
pub struct AuthorsCase {
    /// Name of the file, without ending.
    pub name: String,
    /// The case's description, as its JSON file holds it.
    pub json: Value,
    /// All tensors, 64-bit integers as they are.
    pub tensors: BTreeMap<String, Tensor>,
}

fn folder() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let Some(named) = std::env::var_os("MKGC_AUTHORS") else { return package.join("tests/fixtures/authors") };
    // Tests run in the package's folder; a relative path is meant from the workspace.
    let named = PathBuf::from(named);
    if named.is_dir() { named } else { package.join("..").join(named) }
}

/// Paths of all descriptions, in order of names.
fn descriptions() -> Vec<PathBuf> {
    let folder = folder();
    let mut paths: Vec<PathBuf> = fs_err::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "json"))
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "{} holds no case", folder.display());
    paths
}

fn read(path: &Path) -> AuthorsCase {
    let name = path.file_stem().unwrap().to_string_lossy().into_owned();
    let json: Value = serde_json::from_slice(&fs_err::read(path).unwrap()).unwrap();
    let tensors = candle_core::safetensors::load(path.with_extension("safetensors"), &Device::Cpu).unwrap();
    AuthorsCase { name, json, tensors: tensors.into_iter().collect() }
}

fn kind_of(case: &str) -> Option<&'static str> {
    KINDS.into_iter().filter(|kind| case.starts_with(kind)).max_by_key(|kind| kind.len())
}

/// The kind of a described case: by its `case` field, else by the name of its file.
fn kind_at(path: &Path) -> Option<&'static str> {
    let json: Value = serde_json::from_slice(&fs_err::read(path).unwrap()).unwrap();
    json["case"].as_str().and_then(kind_of).or_else(|| kind_of(&path.file_stem().unwrap().to_string_lossy()))
}

/// Runs `check` on every case of a kind and prints the table of each; fails if any quantity misses its bar.
pub fn each(kind: &str, check: impl Fn(&AuthorsCase, &mut Errors)) {
    let mut failed = Vec::new();
    let paths: Vec<PathBuf> = descriptions().into_iter().filter(|path| kind_at(path) == Some(kind)).collect();
    if paths.is_empty() {
        println!("{}: no case of {kind}, so nothing is compared", folder().display());
    }
    for path in &paths {
        let case = read(path);
        let mut errors = Errors { rounding: rounding(&case.json), ..Errors::default() };
        check(&case, &mut errors);
        assert!(!errors.rows.is_empty(), "{}: nothing was compared", case.name);
        errors.print(&case.name);
        failed.extend(errors.missed().map(|quantity| format!("{}: {quantity}", case.name)));
    }
    assert!(failed.is_empty(), "beyond the bar:\n{}", failed.join("\n"));
}

impl AuthorsCase {
    /// A tensor by its name in the file.
    pub fn tensor(&self, name: &str) -> &Tensor {
        self.tensors.get(name).unwrap_or_else(|| panic!("{}: no tensor `{name}`", self.name))
    }

    /// Returns the values of a tensor as f32, flat.
    pub fn values(&self, name: &str) -> Vec<f32> {
        self.tensor(name).flatten_all().unwrap().to_dtype(DType::F32).unwrap().to_vec1().unwrap()
    }

    /// Returns an integer of `config`.
    pub fn size(&self, key: &str) -> usize {
        integer(&self.json["config"][key], key)
    }

    /// The tensors whose name begins with `prefix`, without it.
    pub fn below<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a Tensor)> {
        self.tensors.iter().filter_map(move |(name, tensor)| Some((name.strip_prefix(prefix)?, tensor)))
    }

    /// A list of names in `order`.
    pub fn order(&self, key: &str) -> Vec<&str> {
        self.json["order"][key].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect()
    }

    /// The weight decay of all parameter groups. Of AdamW's other settings we have the defaults alone.
    pub fn weight_decay(&self) -> f64 {
        let groups = self.json["parameter_groups"].as_array().unwrap();
        let number = |group: &Value, key: &str| group[key].as_f64().unwrap_or_else(|| panic!("`{key}` is no number"));
        let first = number(&groups[0], "weight_decay");
        for group in groups {
            assert_eq!(number(group, "weight_decay"), first, "groups with other `weight_decay` cannot be compared");
            let defaults = AdamWConfig::default();
            let betas = [defaults.beta1, defaults.beta2].map(Value::from);
            assert_eq!(group["betas"], Value::from(betas.to_vec()), "other `betas` cannot be compared");
            assert_eq!(number(group, "eps"), defaults.eps, "another `eps` cannot be compared");
        }
        first
    }

    /// What is stored by blocks, with every value repeated `block` times along both last dimensions.
    pub fn unblocked(&self, tensor: &Tensor) -> Tensor {
        let block = self.size("block");
        let dims = tensor.dims();
        let height = dims[dims.len() - 2];
        let width = dims[dims.len() - 1];
        let leading = dims[..dims.len() - 2].to_vec();
        let narrow = [leading.clone(), vec![height, 1, width, 1]].concat();
        let wide = [leading.clone(), vec![height, block, width, block]].concat();
        let pixels = [leading, vec![height * block, width * block]].concat();
        tensor.reshape(narrow).unwrap().broadcast_as(wide).unwrap().contiguous().unwrap().reshape(pixels).unwrap()
    }
}

/// An integer of a description.
pub fn integer(value: &Value, key: &str) -> usize {
    value.as_u64().unwrap_or_else(|| panic!("`{key}` is no integer but {value}")) as usize
}

/// Row numbers of a description.
pub fn rows(value: &Value) -> Vec<usize> {
    value.as_array().unwrap().iter().map(|row| integer(row, "row")).collect()
}

/// Relative errors of the authors' own code in 32 bits, by quantity, where the case lists them.
fn rounding(json: &Value) -> BTreeMap<String, f64> {
    let listed = json.as_object().unwrap().iter().find(|(key, _)| key.starts_with("float32_against_float64"));
    let listed = listed.and_then(|(_, listed)| listed.as_object()).into_iter().flatten();
    listed
        .filter_map(|(name, error)| Some((name.strip_suffix(".blocks").unwrap_or(name).to_owned(), error.as_f64()?)))
        .collect()
}

/// Relative errors of a case, each with its bar.
#[derive(Default)]
pub struct Errors {
    rows: Vec<(String, f64, f64)>,
    rounding: BTreeMap<String, f64>,
}

impl Errors {
    /// Compares tensors: ‖ours − theirs‖ / ‖theirs‖. The bar is higher where the authors' own code in 32 bits is that far from
    /// what it computes in 64.
    pub fn tensor(&mut self, quantity: &str, ours: &Tensor, theirs: &Tensor, bar: f64) {
        assert_eq!(ours.elem_count(), theirs.elem_count(), "{quantity}: {:?} and {:?}", ours.dims(), theirs.dims());
        let values = |tensor: &Tensor| -> Vec<f64> {
            tensor.flatten_all().unwrap().to_dtype(DType::F64).unwrap().to_vec1().unwrap()
        };
        let rounding = self.rounding.get(quantity).copied().unwrap_or_default().min(ROUNDED);
        self.values(quantity, &values(ours), &values(theirs), bar.max(ROUNDINGS * rounding));
    }

    /// Compares lists of numbers the same way.
    pub fn values(&mut self, quantity: &str, ours: &[f64], theirs: &[f64], bar: f64) {
        assert_eq!(ours.len(), theirs.len(), "{quantity}: number of values");
        let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|value| value * value).sum::<f64>().sqrt();
        let difference = norm(&mut ours.iter().zip(theirs).map(|(ours, theirs)| ours - theirs));
        let size = norm(&mut theirs.iter().copied());
        self.rows.push((quantity.to_owned(), if size > 0.0 { difference / size } else { difference }, bar));
    }

    /// Compares norms of parameters: all together, and each of them by itself, because the large ones would hide a small one
    /// that is wrong.
    pub fn norms(&mut self, quantity: &str, ours: &[f64], theirs: &[f64], bar: f64) {
        self.values(quantity, ours, theirs, bar);
        self.each(quantity, ours.iter().copied().zip(theirs.iter().copied()));
    }

    /// Compares pairs of ours and theirs one by one; what is zero there is measured by all of them.
    pub fn each(&mut self, quantity: &str, pairs: impl Iterator<Item = (f64, f64)> + Clone) {
        let all = pairs.clone().map(|(_, theirs)| theirs.powi(2)).sum::<f64>().sqrt().max(f64::MIN_POSITIVE);
        let size = |theirs: f64| if theirs == 0.0 { all } else { theirs.abs() };
        let largest = pairs.map(|(ours, theirs)| (ours - theirs).abs() / size(theirs));
        self.rows.push((format!("{quantity}, the one that is farthest off"), largest.fold(0.0, f64::max), EACH));
    }

    /// Compares a number with the authors'.
    pub fn number(&mut self, quantity: &str, ours: f64, theirs: f64, bar: f64) {
        self.values(quantity, &[ours], &[theirs], bar);
    }

    fn print(&self, case: &str) {
        println!("\n{case}\n| quantity | relative error | bar |\n|---|---|---|");
        for (quantity, error, bar) in &self.rows {
            println!("| {quantity} | {error:.1e} | {bar:.0e} |");
        }
    }

    /// Quantities beyond their bar; what is not a number is beyond any.
    fn missed(&self) -> impl Iterator<Item = String> {
        let missed = self.rows.iter().filter(|(_, error, bar)| error.is_nan() || error > bar);
        missed.map(|(quantity, error, bar)| format!("{quantity}: {error:.1e}, bar {bar:.0e}"))
    }
}

/// A learner of the authors' shapes, its variables not yet theirs.
pub fn learner(
    kind: Extraction,
    architecture: Architecture,
    (text, vision): (BertConfig, Option<ClipVisionConfig>),
    labels: usize,
    config: &Config,
) -> Learner {
    let spec = LearnerSpec {
        kind,
        labels,
        architecture,
        encoder: EncoderSource::seeded(text, vision),
        tokenizer: WordTokenizer::from_words(vec!["word".to_owned()]).unwrap(),
        pictures: None,
        device: Device::Cpu,
        dtype: DType::F32,
    };
    Learner::new(&Rc::new(spec), config, 0).unwrap()
}

/// Gives a learner's variables the authors' values; every variable must get one.
pub fn load(learner: &Learner, values: BTreeMap<String, Tensor>) {
    let missing: Vec<String> =
        learner.params().vars().into_iter().map(|(name, _)| name).filter(|name| !values.contains_key(name)).collect();
    assert!(missing.is_empty(), "no value for {}", missing.join(", "));
    learner.params().load(&values).unwrap();
}

/// A row of the authors' pool: its real pieces, the pieces that the head reads, a label for each.
pub fn example(id: usize, ids: Vec<u32>, anchors: Vec<u32>, gold: Vec<u32>) -> Example {
    let words = anchors.len();
    let original = gold.clone();
    Example { id: id.to_string(), ids, anchors, gold, original, words, owner: None, image: None, crops: vec![] }
}

#[test]
fn authors_every_case_is_of_a_known_kind() {
    for path in descriptions() {
        assert!(kind_at(&path).is_some(), "{}: a case of no known kind ({})", path.display(), KINDS.join(", "));
    }
}

/// Cases of LMC are too large for a repository; of every other kind there is one, so that no test is empty by accident.
#[test]
fn authors_fixtures_hold_a_case_of_every_small_kind() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/authors");
    for kind in KINDS.into_iter().filter(|kind| !kind.starts_with("lmc")) {
        assert_eq!(kind_at(&fixtures.join(format!("{kind}.json"))), Some(kind));
    }
}
