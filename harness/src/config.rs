//! The settings of a training run and where each came from: flag > TOML recipe > the method's default.

mod choices;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

use mkgc_builder::corpus::TaskKind;
use mkgc_models::losses::distillation::Pooling;
use mkgc_models::networks::Key;

use crate::error::{Error, Result};
use crate::learner::Architecture;
use crate::methods::registry;
pub use choices::{HeadInput, Schedule, VisualSetting};

/// Which labels compete in the training loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Softmax {
    /// Labels of the tasks seen so far (default).
    Seen,
    /// Every label of the benchmark, also future ones.
    All,
    /// Labels of the current task only (and `None`/`O`).
    Current,
}

/// How EMR mixes memory with the current batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Replay {
    /// A step on one old task's memory, then a step on the current batch (default).
    Alternate,
    /// One step on both together.
    Concat,
}

/// What a word labelled `O` in a replayed sentence means (NER): its sentence was annotated before newer types existed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ReplayO {
    /// Unknown: the loss sums over every seen tag there (default).
    Mask,
    /// Really `O`.
    Keep,
}

/// Which rows of a task are stored (replay methods).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Selection {
    /// Per class, the rows nearest to the centroids of k-means over the features (default).
    Kmeans,
    /// Per class, rows drawn at random.
    Random,
}

/// All settings of a run. Rates are per optimiser step; lengths are word pieces.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Passes over each task's training rows.
    pub epochs: usize,
    /// Rows per step.
    pub batch_size: usize,
    /// AdamW rate of the encoder.
    pub lr_encoder: f64,
    /// AdamW rate of the head (and the CRF).
    pub lr_head: f64,
    /// AdamW rate of LMC's shared keys.
    pub lr_key: f64,
    /// AdamW rate of LMC's position biases.
    pub lr_bias: f64,
    /// AdamW rate of RP-CRE's memory network.
    pub lr_memory_network: f64,
    /// How the rates go over the steps of a phase, such as a task's epochs.
    #[serde(default)]
    pub schedule: Schedule,
    /// Share of a phase's steps over which the rate of a linear schedule rises.
    #[serde(default)]
    pub warmup: f64,
    /// AdamW decoupled weight decay; 0 is Adam.
    pub weight_decay: f64,
    /// A fresh optimiser (moments at zero) for each task, instead of one for the whole stream (LMC).
    pub optimiser_per_task: bool,
    /// Largest L2 norm of the gradients, which are scaled down to it; 0 is no limit.
    pub clip_norm: f64,
    /// What the head reads of the text (relations; entity heads read every word).
    pub head: HeadInput,
    /// Hold encoder, head and memory network to `clip_norm` each, as RP-CRE's code does, instead of all together.
    #[serde(default)]
    pub clip_apart: bool,
    /// Dropout before the head.
    pub head_dropout: f64,
    /// Longest input, special tokens and markers included; longer rows are cut.
    pub max_length: usize,
    /// Labels that compete in the loss.
    pub softmax: Softmax,
    /// Stored rows per class (replay methods).
    pub memory_per_class: usize,
    /// NER: store `memory_per_class` sentences without any entity of the task as well, as if `O` were a class.
    #[serde(default)]
    pub memory_outside: bool,
    /// How stored rows are chosen.
    pub selection: Selection,
    /// Passes over the memory: LMC's replay phase, RP-CRE's training of the memory network.
    pub memory_epochs: usize,
    /// Rounds of activation and reconsolidation (EMAR).
    pub rounds: usize,
    /// EMR's mixing.
    pub replay: Replay,
    /// EMR's reading of `O` in stored sentences.
    pub replay_o: ReplayO,
    /// Size of a query and key of RP-CRE's memory network.
    pub key_size: usize,
    /// Weight λ of EWC's penalty (λ/2)·ΣF(θ-θ*)², where `ewc_grid` is empty.
    pub ewc_lambda: f64,
    /// Weights λ to choose from: at the second task, EWC trains with each and keeps the one with the best micro-F1 on the
    /// validation rows of the first two tasks. Empty: `ewc_lambda` as it is.
    #[serde(default)]
    pub ewc_grid: Vec<f64>,
    /// Decay γ of EWC's Fisher information from task to task.
    pub ewc_gamma: f64,
    /// Most rows per task that EWC's Fisher information is estimated from.
    pub fisher_rows: usize,
    /// What the vision stream is shown (multimodal methods).
    pub visual: VisualSetting,
    /// Upper layers whose attention LMC shares and distils: 3 of 12 by default, so 1 of a six-layer encoder's. Even that
    /// one costs: with MiniLM, LMC's micro-F1 after the first task of mnre-10 falls from 90.1 to 85.2.
    pub shared_layers: usize,
    /// Keys of those layers.
    pub key: Key,
    /// Pooling of attention maps in LMC's distillation.
    pub pooling: Pooling,
    /// Weight λ of LMC's distillation.
    pub lambda: f64,
    /// Strength α of LMC's gradient modulation; 0 is none.
    pub alpha: f64,
    /// Gaussian noise on modulated gradients (LMC).
    pub noise: bool,
    /// Upper layers in which MKGformer's streams read each other.
    pub interaction_layers: usize,
    /// Hide text padding from MKGformer's vision stream (the released code does not).
    pub mask_text_padding: bool,
    /// Seed of initialisation, shuffling, dropout and memory selection.
    pub train_seed: u64,
}

impl Config {
    /// A method's own settings: those of its paper where it has some.
    ///
    /// The BERT line of methods (RP-CRE's first phase): 10 epochs, batch 16, Adam 1e-5/1e-3, clip 10. EMAR-BERT as
    /// reimplemented by ACA (Wang et al. 2022). Fea is RP-CRE's line without its network. LMC: batch 2, AdamW, no
    /// clipping, 6 rows per class drawn at random; `lmc-replay` the same with its devices off.
    pub fn default_for(task: TaskKind, method: &str) -> Self {
        let re = task == TaskKind::Re;
        let base = Self {
            epochs: 10,
            batch_size: 16,
            lr_encoder: 1e-5,
            lr_head: 1e-3,
            lr_key: 1e-6,
            lr_bias: 1e-5,
            lr_memory_network: 1e-4,
            schedule: Schedule::Constant,
            warmup: 0.0,
            weight_decay: 0.0,
            optimiser_per_task: true,
            clip_norm: 10.0,
            head: head_input(method),
            clip_apart: false,
            head_dropout: if re { 0.5 } else { 0.1 },
            max_length: 128,
            softmax: Softmax::Seen,
            memory_per_class: 10,
            memory_outside: true,
            selection: Selection::Kmeans,
            memory_epochs: 10,
            rounds: 2,
            replay: Replay::Alternate,
            replay_o: ReplayO::Mask,
            key_size: 256,
            ewc_lambda: 1e3,
            ewc_grid: vec![1e2, 1e3, 1e4, 1e5, 1e6],
            ewc_gamma: 1.0,
            fisher_rows: 2000,
            visual: VisualSetting::Auto,
            shared_layers: 0,
            key: Key::Own,
            pooling: Pooling::Both,
            lambda: 0.0,
            alpha: 0.0,
            noise: false,
            interaction_layers: 4,
            mask_text_padding: true,
            train_seed: 42,
        };
        match method {
            "emar-bert" => Self { epochs: 2, batch_size: 32, ..base },
            "seq-star" => Self::seq_star(base),
            "concat" | "concat-replay" | "joint-multimodal" => Self { head_dropout: 0.0, ..base },
            "rp-cre" => Self { clip_apart: true, ..base },
            "mkgformer" | "mkgformer-replay" => {
                let lr_head = if re { 1e-5 } else { 5e-2 };
                let lr_encoder = if re { 1e-5 } else { 3e-5 };
                let (warmup, head_dropout) = if re { (0.06, 0.0) } else { (0.01, 0.1) };
                let schedule = Schedule::Linear;
                Self { lr_encoder, lr_head, schedule, warmup, weight_decay: 1e-2, head_dropout, ..base }
            }
            "lmc" => Self::lmc(base, re),
            "lmc-released" => {
                let (key, pooling, replay_o) = (Key::Released, Pooling::Width, ReplayO::Keep);
                Self { key, pooling, replay_o, ..Self::lmc(base, re) }
            }
            "lmc-replay" => {
                Self { shared_layers: 0, key: Key::Own, lambda: 0.0, alpha: 0.0, noise: false, ..Self::lmc(base, re) }
            }
            _ => base,
        }
    }

    fn lmc(base: Self, re: bool) -> Self {
        let rates = if re { (1e-5, 1e-5, 1e-6, 1e-5) } else { (3e-5, 5e-2, 3e-6, 3e-5) };
        Self {
            batch_size: 2,
            lr_encoder: rates.0,
            lr_head: rates.1,
            lr_key: rates.2,
            lr_bias: rates.3,
            weight_decay: 1e-2,
            optimiser_per_task: false,
            clip_norm: 0.0,
            head_dropout: if re { 0.0 } else { 0.1 },
            max_length: if re { 80 } else { 128 },
            memory_per_class: 6,
            selection: Selection::Random,
            shared_layers: 3,
            key: Key::Matrix,
            lambda: if re { 1.0 } else { 0.1 },
            alpha: if re { 0.1 } else { 0.3 },
            noise: true,
            ..base
        }
    }

    /// Three epochs of warm-up, batch 4, 1e-5/1e-3, decay 5e-4 of the encoder, no clipping: the configuration files and
    /// the defaults of the authors' code (zzz47zzz/codebase-for-incremental-learning-with-llm).
    fn seq_star(base: Self) -> Self {
        Self { epochs: 3, batch_size: 4, weight_decay: 5e-4, clip_norm: 0.0, softmax: Softmax::All, ..base }
    }

    fn check(&self) -> Result<()> {
        let positive = [
            ("epochs", self.epochs),
            ("batch_size", self.batch_size),
            ("key_size", self.key_size),
            ("fisher_rows", self.fisher_rows),
        ];
        if let Some((key, _)) = positive.into_iter().find(|(_, value)| *value == 0) {
            return Err(config_error(key, "must be at least 1"));
        }
        if self.max_length < 8 {
            return Err(config_error("max_length", "must be at least 8: two special tokens, four markers, two words"));
        }
        if !(0.0..=1.0).contains(&self.warmup) {
            return Err(config_error("warmup", "must lie in [0, 1]: it is a share of the steps"));
        }
        if !(0.0..1.0).contains(&self.head_dropout) {
            return Err(config_error("head_dropout", "must lie in [0, 1)"));
        }
        let rates = [
            ("lr_encoder", self.lr_encoder),
            ("lr_head", self.lr_head),
            ("lr_key", self.lr_key),
            ("lr_bias", self.lr_bias),
            ("lr_memory_network", self.lr_memory_network),
        ];
        if let Some((key, value)) = rates.into_iter().find(|(_, value)| !(value.is_finite() && *value > 0.0)) {
            return Err(config_error(key, &format!("must be a positive number, got {value}")));
        }
        let weights = [
            ("weight_decay", self.weight_decay),
            ("clip_norm", self.clip_norm),
            ("ewc_lambda", self.ewc_lambda),
            ("ewc_gamma", self.ewc_gamma),
            ("lambda", self.lambda),
            ("alpha", self.alpha),
        ];
        if let Some((key, value)) = weights.into_iter().find(|(_, value)| !(value.is_finite() && *value >= 0.0)) {
            return Err(config_error(key, &format!("must be 0 or a positive number, got {value}")));
        }
        if let Some(value) = self.ewc_grid.iter().find(|value| !(value.is_finite() && **value >= 0.0)) {
            return Err(config_error("ewc_grid", &format!("must hold 0 or positive numbers, got {value}")));
        }
        if self.lambda > 0.0 && self.shared_layers == 0 {
            let reason = "distils the attention of the shared layers; raise shared_layers, or set lambda = 0";
            return Err(config_error("lambda", reason));
        }
        Ok(())
    }
}

/// What the relation head of a method's own network reads.
pub(crate) fn head_input(method: &str) -> HeadInput {
    match registry::find(method) {
        Ok(info) if info.architecture == Architecture::Dual => HeadInput::Cls,
        _ => HeadInput::Markers,
    }
}

fn config_error(key: &str, reason: &str) -> Error {
    Error::Config { key: key.to_owned(), reason: reason.to_owned() }
}

/// A configuration and the origin of each key (`default`, the recipe's path, `flag`).
#[derive(Debug, Clone)]
pub struct Resolved {
    /// The values.
    pub config: Config,
    /// Key to origin.
    pub origins: BTreeMap<String, String>,
}

impl Resolved {
    /// One line per key: `key = value  # origin`.
    pub fn to_toml(&self) -> Result<String> {
        let table = as_table(&self.config)?;
        let line = |(key, value): (&String, &toml::Value)| format!("{key} = {value}  # {}\n", self.origins[key]);
        Ok(table.iter().map(line).collect())
    }
}

fn as_table(config: &Config) -> Result<toml::Table> {
    toml::Table::try_from(config).map_err(|error| Error::Usage(error.to_string()))
}

/// Layers a recipe file and flags over the defaults. A recipe holds keys for all methods at its top level and, under
/// `[vanilla]`, `[emr]`, …, keys for that method alone.
pub fn resolve(task: TaskKind, method: &str, recipe: Option<&Path>, flags: toml::Table) -> Result<Resolved> {
    let mut table = as_table(&Config::default_for(task, method))?;
    let mut origins: BTreeMap<_, _> = table.keys().map(|key| (key.clone(), "default".to_owned())).collect();
    let mut layer = |values: toml::Table, origin: &str| -> Result<()> {
        for (key, value) in values {
            if !origins.contains_key(&key) {
                return Err(config_error(&key, &unknown(&key, origins.keys().map(String::as_str))));
            }
            origins.insert(key.clone(), origin.to_owned());
            table.insert(key, value);
        }
        Ok(())
    };
    if let Some(path) = recipe {
        let mut values: toml::Table = toml::from_str(&fs_err::read_to_string(path)?)
            .map_err(|error| Error::Usage(format!("{}: {error}", path.display())))?;
        let origin = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        let own = take_method_tables(&mut values).remove(method).unwrap_or_default();
        layer(values, &origin)?;
        layer(own, &origin)?;
    }
    layer(flags, "flag")?;
    let config: Config = table
        .try_into()
        .map_err(|error: toml::de::Error| Error::Usage(format!("configuration: {}", error.message())))?;
    config.check()?;
    if task == TaskKind::Ner && config.head != head_input(method) {
        return Err(config_error(
            "head",
            "chooses what a relation head reads; entity heads read every word: leave it out",
        ));
    }
    if !config.ewc_grid.is_empty() && origins["ewc_lambda"] != "default" {
        return Err(config_error("ewc_lambda", "is chosen from ewc_grid; to give it, also set ewc_grid = []"));
    }
    Ok(Resolved { config, origins })
}

fn take_method_tables(values: &mut toml::Table) -> BTreeMap<String, toml::Table> {
    crate::methods::names()
        .filter_map(|name| match values.remove(name) {
            Some(toml::Value::Table(own)) => Some((name.to_owned(), own)),
            _ => None,
        })
        .collect()
}

/// "unknown …; did you mean …?" for a name and the accepted ones.
pub fn unknown<'a>(name: &str, accepted: impl Iterator<Item = &'a str> + Clone) -> String {
    let similarity = strsim::normalized_damerau_levenshtein;
    let nearest = accepted.clone().max_by(|a, b| similarity(name, a).total_cmp(&similarity(name, b)));
    let hint = nearest.map_or(String::new(), |nearest| format!("; did you mean `{nearest}`?"));
    format!("`{name}` is unknown{hint} Accepted: {}", accepted.collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn flags_win_over_the_recipe_and_the_recipe_over_defaults() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("r.toml");
        fs_err::write(&path, "epochs = 3\nbatch_size = 4\n[emr]\nepochs = 5\n").unwrap();
        let flags = toml::Table::from_iter([("batch_size".to_owned(), toml::Value::Integer(2))]);
        let resolved = resolve(TaskKind::Re, "emr", Some(&path), flags).unwrap();
        assert_eq!((resolved.config.epochs, resolved.config.batch_size), (5, 2));
        assert_eq!(resolved.origins["batch_size"], "flag");
        assert_eq!(resolved.origins["epochs"], "r.toml");
        assert_eq!(resolved.origins["lr_head"], "default");
        assert_eq!(resolve(TaskKind::Re, "vanilla", Some(&path), toml::Table::new()).unwrap().config.epochs, 3);
    }

    #[test]
    fn unknown_and_impossible_values_name_the_key() {
        let flags = |key: &str, value: i64| toml::Table::from_iter([(key.to_owned(), toml::Value::Integer(value))]);
        let message = resolve(TaskKind::Re, "emr", None, flags("epoch", 1)).unwrap_err().to_string();
        assert!(message.contains("`epoch`") && message.contains("did you mean `epochs`"), "{message}");
        let message = resolve(TaskKind::Re, "emr", None, flags("epochs", 0)).unwrap_err().to_string();
        assert!(message.contains("`epochs`"), "{message}");
        for (key, value, named) in [("key_size", 0, "`key_size`"), ("fisher_rows", 0, "`fisher_rows`")] {
            let message = resolve(TaskKind::Re, "rp-cre", None, flags(key, value)).unwrap_err().to_string();
            assert!(message.contains(named), "{message}");
        }
        let message = resolve(TaskKind::Re, "ewc", None, flags("ewc_lambda", 5)).unwrap_err().to_string();
        assert!(message.contains("`ewc_lambda`") && message.contains("ewc_grid = []"), "{message}");
        let grid = |values: &str| toml::from_str(&format!("ewc_lambda = 5\newc_grid = {values}")).unwrap();
        assert_eq!(resolve(TaskKind::Re, "ewc", None, grid("[]")).unwrap().config.ewc_lambda, 5.0);
        let message = resolve(TaskKind::Re, "ewc", None, grid("[1, -1]")).unwrap_err().to_string();
        assert!(message.contains("`ewc_grid`") && message.contains("-1"), "{message}");
        let message = resolve(TaskKind::Re, "lmc", None, flags("shared_layers", 0)).unwrap_err().to_string();
        assert!(message.contains("`lambda`") && message.contains("raise shared_layers"), "{message}");
        let message = resolve(TaskKind::Re, "mkgformer", None, flags("warmup", 2)).unwrap_err().to_string();
        assert!(message.contains("`warmup`") && message.contains("[0, 1]"), "{message}");
    }

    #[test]
    fn a_head_is_chosen_for_relations_alone() {
        let set = |task, method: &str, head: &str| {
            resolve(task, method, None, toml::from_str(&format!("head = \"{head}\"")).unwrap())
        };
        for (method, own, other) in
            [("emr", "markers", "cls"), ("lmc", "cls", "markers"), ("mkgformer", "markers", "cls")]
        {
            for head in [own, other] {
                assert!(set(TaskKind::Re, method, head).is_ok(), "{method} {head}");
            }
            assert!(set(TaskKind::Ner, method, own).is_ok(), "{method}");
            let message = set(TaskKind::Ner, method, other).unwrap_err().to_string();
            assert!(message.contains("`head`") && message.contains("entity heads read every word"), "{message}");
        }
    }
}
