//! `run.json`: everything a reader needs to interpret the predictions and to repeat the run.

use std::collections::BTreeMap;

use mkgc_builder::corpus::TaskKind;
use mkgc_builder::dataset::Manifest;
use serde::{Deserialize, Serialize};

use crate::config::{Config, Resolved};

/// Version of `run.json`, `predictions.parquet` and `result.json`.
pub const SCHEMA_VERSION: u32 = 1;

/// One task of the stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskRecord {
    /// Its name.
    pub name: String,
    /// Classes it introduces.
    pub classes: Vec<String>,
}

/// The benchmark a run used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatasetRecord {
    /// Protocol name, e.g. `mnre-10`.
    pub name: String,
    /// RE or NER.
    pub task: TaskKind,
    /// Content fingerprint of the built folder.
    pub fingerprint: String,
    /// Label names by id.
    pub labels: Vec<String>,
    /// The stream.
    pub tasks: Vec<TaskRecord>,
}

impl DatasetRecord {
    /// What a manifest says of itself.
    pub fn new(manifest: &Manifest) -> Self {
        let task = |task: &mkgc_builder::dataset::ManifestTask| TaskRecord {
            name: task.name.clone(),
            classes: task.classes.clone(),
        };
        Self {
            name: manifest.name.clone(),
            task: manifest.task,
            fingerprint: manifest.fingerprint.clone(),
            labels: manifest.labels.clone(),
            tasks: manifest.tasks.iter().map(task).collect(),
        }
    }

    /// The task whose classes hold a label; `None` for `None` and `O`.
    pub fn owner(&self, label: &str) -> Option<usize> {
        let class = label.strip_prefix("B-").or_else(|| label.strip_prefix("I-")).unwrap_or(label);
        self.tasks.iter().position(|task| task.classes.iter().any(|own| own == class))
    }
}

/// The contents of `run.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// Version of mkgc.
    pub code_version: String,
    /// Method name.
    pub method: String,
    /// The benchmark.
    pub dataset: DatasetRecord,
    /// Name or folder given as `--encoder`.
    pub encoder: String,
    /// `tiny`, or the SHA-256 of the encoder's weights.
    pub encoder_identity: String,
    /// `cpu` or `cuda:n`.
    pub device: String,
    /// Number type of weights and activations.
    pub dtype: String,
    /// Threads that matrix products use.
    pub threads: usize,
    /// Settings.
    pub config: Config,
    /// Where each setting came from.
    pub origins: BTreeMap<String, String>,
}

impl RunRecord {
    /// A record of a run about to start on the CPU or a GPU.
    pub fn new(manifest: &Manifest, method: &str, encoder: (&str, &str), device: &str, resolved: &Resolved) -> Self {
        Self {
            schema_version: SCHEMA_VERSION,
            code_version: env!("CARGO_PKG_VERSION").to_owned(),
            method: method.to_owned(),
            dataset: DatasetRecord::new(manifest),
            encoder: encoder_name(encoder.0),
            encoder_identity: encoder.1.to_owned(),
            device: device.to_owned(),
            dtype: "f32".to_owned(),
            threads: candle_core::utils::get_num_threads(),
            config: resolved.config.clone(),
            origins: resolved.origins.clone(),
        }
    }

    /// The first thing in which two runs differ so that one cannot go on with the other.
    pub fn difference(&self, other: &Self) -> Option<&'static str> {
        let checks = [
            ("mkgc version", self.code_version == other.code_version),
            ("method", self.method == other.method),
            ("benchmark", self.dataset == other.dataset),
            ("encoder", self.encoder_identity == other.encoder_identity),
            ("device", self.device == other.device && self.threads == other.threads),
            ("configuration", self.config == other.config),
        ];
        checks.into_iter().find(|(_, same)| !same).map(|(what, _)| what)
    }
}

/// The last part of a folder: where the weights lay on one machine says nothing on another.
fn encoder_name(encoder: &str) -> String {
    let name = std::path::Path::new(encoder).file_name();
    name.map_or_else(|| encoder.to_owned(), |name| name.to_string_lossy().into_owned())
}
