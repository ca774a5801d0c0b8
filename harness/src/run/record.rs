//! `run.json`: everything a reader needs to interpret the predictions and to repeat the run.

use std::collections::BTreeMap;
use std::path::Path;

use mkgc_builder::corpus::TaskKind;
use mkgc_builder::dataset::Manifest;
use mkgc_builder::files::sha256_file;
use mkgc_builder::labels::LabelSet;
use mkgc_models::inputs::Visual;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::external::{self, ExternalRecord};
use super::lambda::LambdaChoice;
use crate::config::{Config, Resolved, head_input};
use crate::data::Pictures;
use crate::error::Result;
use crate::methods::registry;

/// Version of `run.json`, `predictions.parquet` and `result.json`.
pub const SCHEMA_VERSION: u32 = 4;

/// One task of the stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TaskRecord {
    /// Its name.
    pub name: String,
    /// Classes it introduces.
    pub classes: Vec<String>,
}

/// The benchmark a run used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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

    /// Returns the labels with their classes and tasks.
    pub fn label_set(&self) -> LabelSet {
        LabelSet::new(self.task, &self.labels, self.tasks.iter().map(|task| task.classes.as_slice()))
    }
}

/// An encoder's weights.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EncoderRecord {
    /// `tiny`, the last part of the folder, or the repository.
    pub name: String,
    /// `tiny`, or the SHA-256 of the weights.
    pub identity: String,
    /// Commit of the repository the weights came from.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub revision: Option<String>,
}

impl EncoderRecord {
    /// A built-in shape with seeded weights.
    pub fn built_in(name: &str) -> Self {
        Self { name: name.to_owned(), identity: name.to_owned(), revision: None }
    }

    /// Weights from a file.
    pub fn new(name: &str, weights: &Path, revision: Option<String>) -> Result<Self> {
        let identity = sha256_file(weights)?;
        let name = if revision.is_some() { name.to_owned() } else { last_part(name) };
        Ok(Self { name, identity, revision })
    }
}

/// What the vision stream of a run saw.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VisionRecord {
    /// The vision encoder.
    pub encoder: EncoderRecord,
    /// The form of what was shown: `image` or `crops`. What was chosen is the setting `visual`.
    pub layout: Visual,
    /// Pictures of the corpus.
    pub real_images: usize,
    /// Generated pictures in place of missing ones.
    pub stand_in_images: usize,
    /// Rows that show a generated picture; not known of older runs.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub stand_in_rows: Option<usize>,
}

impl VisionRecord {
    /// Of an encoder over pictures.
    pub fn new(encoder: EncoderRecord, pictures: &Pictures) -> Self {
        let (real_images, stand_in_images) = (pictures.real(), pictures.stand_ins());
        let (layout, stand_in_rows) = (pictures.form(), Some(pictures.stand_in_rows()));
        Self { encoder, layout, real_images, stand_in_images, stand_in_rows }
    }
}

/// What a finished run cost, stored and chose.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Cost {
    /// Optimiser steps that made the network.
    pub optimiser_steps: usize,
    /// Further steps, with settings that were tried and not kept.
    #[serde(default)]
    pub tuning_steps: usize,
    /// Wall time of learning and predicting; of an interrupted run, of the tasks that count.
    pub wall_seconds: f64,
    /// Rows stored at the end.
    pub stored_rows: usize,
    /// Of these, how many hold each class.
    pub stored_by_class: BTreeMap<String, usize>,
    /// How EWC's λ was chosen, where it was.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub ewc: Option<LambdaChoice>,
}

/// The contents of `run.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RunRecord {
    /// [`SCHEMA_VERSION`].
    #[schemars(extend("const" = SCHEMA_VERSION))]
    pub schema_version: u32,
    /// Version of mkgc.
    pub code_version: String,
    /// Method name.
    pub method: String,
    /// What tells this run's settings from others of the method.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub variant: Option<String>,
    /// Where the predictions come from, if the model was trained outside mkgc.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub external: Option<ExternalRecord>,
    /// What the method may keep between tasks.
    #[serde(default)]
    pub memory_budget: String,
    /// The benchmark.
    pub dataset: DatasetRecord,
    /// The text encoder.
    pub encoder: EncoderRecord,
    /// What a multimodal method saw.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub vision: Option<VisionRecord>,
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
    /// After how many of the benchmark's tasks the run stops (`--tasks`), if not after the last one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub stop_after: Option<usize>,
    /// What the run cost, once it is finished.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cost: Option<Cost>,
}

impl RunRecord {
    /// A record of a run about to start on the CPU or a GPU.
    pub fn new(manifest: &Manifest, method: &str, encoder: EncoderRecord, device: &str, resolved: &Resolved) -> Self {
        Self {
            schema_version: SCHEMA_VERSION,
            code_version: env!("CARGO_PKG_VERSION").to_owned(),
            method: method.to_owned(),
            variant: None,
            external: None,
            memory_budget: budget(method, resolved.config.memory_per_class),
            dataset: DatasetRecord::new(manifest),
            encoder,
            vision: None,
            device: device.to_owned(),
            dtype: "f32".to_owned(),
            threads: candle_core::utils::get_num_threads(),
            config: resolved.config.clone(),
            origins: resolved.origins.clone(),
            stop_after: None,
            cost: None,
        }
    }

    /// How many tasks the run learns.
    pub fn tasks(&self) -> usize {
        let all = self.dataset.tasks.len();
        self.stop_after.map_or(all, |tasks| tasks.min(all))
    }

    /// `3 of 10 tasks` for a run that stops early.
    pub fn shortened(&self) -> Option<String> {
        self.stop_after.map(|_| format!("{} of {} tasks", self.tasks(), self.dataset.tasks.len()))
    }

    /// The first thing in which two runs differ so that one cannot go on with the other.
    pub fn difference(&self, other: &Self) -> Option<&'static str> {
        let checks = [
            ("mkgc version", self.code_version == other.code_version),
            ("method", self.method == other.method && self.variant == other.variant),
            ("benchmark", self.dataset == other.dataset),
            ("encoder", self.encoder.identity == other.encoder.identity),
            ("vision encoder or set of images", self.vision == other.vision),
            // Not the threads: they do not change a number.
            ("device", self.device == other.device),
            ("number type (--dtype)", self.dtype == other.dtype),
            ("configuration", self.config == other.config),
        ];
        checks.into_iter().find(|(_, same)| !same).map(|(what, _)| what)
    }

    /// Did the method see generated pictures in place of the corpus's own?
    pub fn stand_ins(&self) -> bool {
        self.vision.as_ref().is_some_and(|vision| vision.stand_in_images > 0)
    }

    /// The method, with the variant's name where there is one, and marks where the run stopped before the last task, where
    /// other pictures took the place of the corpus's own (a control of the setting `visual`, or generated ones) and where
    /// the model was trained outside mkgc.
    pub fn label(&self) -> String {
        let variant = self.variant.as_ref().map_or_else(String::new, |variant| format!(" [{variant}]"));
        let stand_in = if self.stand_ins() { " (stand-in images)" } else { "" };
        let external = if self.external.is_some() { " (external)" } else { "" };
        let shortened = self.shortened().map_or_else(String::new, |tasks| format!(" ({tasks})"));
        let control = self.vision.as_ref().and(self.config.visual.control());
        let control = control.map_or_else(String::new, |control| format!(" ({control})"));
        format!("{}{variant}{shortened}{control}{stand_in}{external}", self.method)
    }

    /// Reads any released version. Version 1 knew the text encoder alone and fewer settings: the others had no effect
    /// on its methods, so their defaults stand. Versions 3 and 4 changed `result.json`, 4 also the predictions.
    pub fn from_json(mut value: Value) -> std::result::Result<Self, String> {
        let version = value.get("schema_version").and_then(Value::as_u64).ok_or("no schema_version")?;
        if !(1..=u64::from(SCHEMA_VERSION)).contains(&version) {
            return Err(format!("schema version {version}, this mkgc reads 1 to {SCHEMA_VERSION}"));
        }
        if version == 1 {
            upgrade_from_1(&mut value)?;
        }
        value["schema_version"] = SCHEMA_VERSION.into();
        complete_config(&mut value)?;
        if value.get("external").is_some() {
            let task = task(&value)?;
            external::complete(&mut value, task)?;
        }
        serde_json::from_value(value).map_err(|error| error.to_string())
    }
}

fn task(value: &Value) -> std::result::Result<TaskKind, String> {
    let task = value.pointer("/dataset/task").cloned().unwrap_or_default();
    serde_json::from_value(task).map_err(|error| format!("dataset.task: {error}"))
}

fn upgrade_from_1(value: &mut Value) -> std::result::Result<(), String> {
    let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
    let damaged = || "a key of schema version 1 is missing".to_owned();
    let method = text(value, "method").ok_or_else(damaged)?;
    let task = task(value)?;
    let (name, identity) = text(value, "encoder").zip(text(value, "encoder_identity")).ok_or_else(damaged)?;
    let mut config = serde_json::to_value(Config::default_for(task, &method)).map_err(|error| error.to_string())?;
    config["memory_outside"] = false.into();
    let stored = value.get("config").and_then(Value::as_object).ok_or_else(damaged)?;
    for (key, setting) in stored {
        config[key] = setting.clone();
    }
    let per_class = config["memory_per_class"].as_u64().unwrap_or_default() as usize;
    value["memory_budget"] = budget(&method, per_class).into();
    value["config"] = config;
    value["encoder"] = serde_json::json!({"name": name, "identity": identity});
    Ok(())
}

/// Settings that earlier versions did not have and whose default is the method's.
fn complete_config(value: &mut Value) -> std::result::Result<(), String> {
    let method = value.get("method").and_then(Value::as_str).unwrap_or_default();
    let head = serde_json::to_value(head_input(method)).map_err(|error| error.to_string())?;
    if let Some(config) = value.get_mut("config").and_then(Value::as_object_mut) {
        config.entry("head").or_insert(head);
    }
    Ok(())
}

/// What a method may keep, in words.
fn budget(method: &str, per_class: usize) -> String {
    let memory = registry::find(method).map_or("unknown", |info| info.memory);
    memory.replace("memory_per_class", &per_class.to_string())
}

/// The last part of a folder: where the weights lay on one machine says nothing on another.
fn last_part(encoder: &str) -> String {
    let name = Path::new(encoder).file_name();
    name.map_or_else(|| encoder.to_owned(), |name| name.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::config::{HeadInput, Schedule, VisualSetting};

    fn version_1() -> Value {
        serde_json::from_str(include_str!("../../tests/fixtures/run-version-1.json")).unwrap()
    }

    #[test]
    fn records_of_version_1_are_read_and_those_of_later_versions_refused() {
        let record = RunRecord::from_json(version_1()).unwrap();
        assert_eq!((record.schema_version, record.label().as_str()), (SCHEMA_VERSION, "emr"));
        assert_eq!((record.encoder.name.as_str(), record.encoder.identity.len()), ("minilm", 64));
        assert_eq!((record.config.epochs, record.config.optimiser_per_task), (1, true));
        assert_eq!(record.memory_budget, "10 rows per class");
        assert!(record.cost.is_none() && record.vision.is_none());
        assert_eq!((record.config.head, record.config.schedule), (HeadInput::Markers, Schedule::Constant));
        let mut later = version_1();
        later["schema_version"] = 99.into();
        assert!(RunRecord::from_json(later).unwrap_err().contains("schema version 99"));
        let mut damaged = version_1();
        damaged["method"] = Value::Null;
        assert!(RunRecord::from_json(damaged).is_err());
    }

    #[test]
    fn a_run_does_not_go_on_in_another_number_type() {
        let record = RunRecord::from_json(version_1()).unwrap();
        let other = RunRecord { dtype: "bf16".to_owned(), ..record.clone() };
        assert_eq!((record.difference(&record), record.difference(&other)), (None, Some("number type (--dtype)")));
    }

    #[test]
    fn a_label_says_variant_and_stand_ins() {
        let mut record = RunRecord::from_json(version_1()).unwrap();
        record.variant = Some("still".to_owned());
        let encoder = EncoderRecord::built_in("tiny");
        let (layout, stand_in_rows) = (Visual::Image, Some(2));
        record.vision = Some(VisionRecord { encoder, layout, real_images: 5, stand_in_images: 1, stand_in_rows });
        assert_eq!(record.label(), "emr [still] (stand-in images)");
        record.config.visual = VisualSetting::Shuffled;
        assert_eq!(record.label(), "emr [still] (shuffled images) (stand-in images)");
        record.vision = None;
        assert_eq!(record.label(), "emr [still]", "a text method has no pictures to shuffle");
    }
}
