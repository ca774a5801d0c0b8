//! The settings of a training run and where each came from: flag > TOML recipe > the method's default.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

use mkgc_builder::corpus::TaskKind;

use crate::error::{Error, Result};

/// Which labels compete in the training loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Replay {
    /// A step on one old task's memory, then a step on the current batch (default).
    Alternate,
    /// One step on both together.
    Concat,
}

/// What a word labelled `O` in a replayed sentence means (NER): its sentence was annotated before newer types existed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReplayO {
    /// Unknown: the loss sums over every seen tag there (default).
    Mask,
    /// Really `O`.
    Keep,
}

/// All settings of a run. Rates are per optimiser step; lengths are word pieces.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
    /// AdamW decoupled weight decay; 0 is Adam.
    pub weight_decay: f64,
    /// Global-norm clipping of the gradients.
    pub clip_norm: f64,
    /// Dropout before the head.
    pub head_dropout: f64,
    /// Longest input, special tokens and markers included; longer rows are cut.
    pub max_length: usize,
    /// Labels that compete in the loss.
    pub softmax: Softmax,
    /// Stored rows per class (replay methods).
    pub memory_per_class: usize,
    /// EMR's mixing.
    pub replay: Replay,
    /// EMR's reading of `O` in stored sentences.
    pub replay_o: ReplayO,
    /// Seed of initialisation, shuffling, dropout and memory selection.
    pub train_seed: u64,
}

impl Config {
    /// The defaults of the BERT line of methods (RP-CRE's first phase): 10 epochs, batch 16, Adam 1e-5/1e-3, clip 10.
    pub fn default_for(task: TaskKind) -> Self {
        Self {
            epochs: 10,
            batch_size: 16,
            lr_encoder: 1e-5,
            lr_head: 1e-3,
            weight_decay: 0.0,
            clip_norm: 10.0,
            head_dropout: if task == TaskKind::Re { 0.5 } else { 0.1 },
            max_length: 128,
            softmax: Softmax::Seen,
            memory_per_class: 10,
            replay: Replay::Alternate,
            replay_o: ReplayO::Mask,
            train_seed: 42,
        }
    }

    fn check(&self) -> Result<()> {
        let positive = [("epochs", self.epochs), ("batch_size", self.batch_size)];
        if let Some((key, _)) = positive.into_iter().find(|(_, value)| *value == 0) {
            return Err(config_error(key, "must be at least 1"));
        }
        if self.max_length < 8 {
            return Err(config_error("max_length", "must be at least 8: two special tokens, four markers, two words"));
        }
        if !(0.0..1.0).contains(&self.head_dropout) {
            return Err(config_error("head_dropout", "must lie in [0, 1)"));
        }
        let rates = [("lr_encoder", self.lr_encoder), ("lr_head", self.lr_head), ("clip_norm", self.clip_norm)];
        if let Some((key, value)) = rates.into_iter().find(|(_, value)| !(value.is_finite() && *value > 0.0)) {
            return Err(config_error(key, &format!("must be a positive number, got {value}")));
        }
        Ok(())
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
    let mut table = as_table(&Config::default_for(task))?;
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
    Ok(Resolved { config, origins })
}

fn take_method_tables(values: &mut toml::Table) -> BTreeMap<String, toml::Table> {
    let methods = crate::methods::NAMES;
    methods
        .iter()
        .filter_map(|name| match values.remove(*name) {
            Some(toml::Value::Table(own)) => Some(((*name).to_owned(), own)),
            _ => None,
        })
        .collect()
}

/// "unknown …; did you mean …?" for a name and the accepted ones.
pub fn unknown<'a>(name: &str, accepted: impl Iterator<Item = &'a str> + Clone) -> String {
    let nearest = accepted.clone().max_by(|a, b| strsim::jaro(name, a).total_cmp(&strsim::jaro(name, b)));
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
    }
}
