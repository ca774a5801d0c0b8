//! What `run.json` says of a run: everything a reader needs to interpret the predictions and to repeat the run.

use std::collections::BTreeMap;

use mkgc_builder::dataset::Manifest;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::external::{ExternalRecord, StreamRecord};
pub use super::inputs::{DatasetRecord, EncoderRecord, TaskRecord, VisionRecord};
use super::lambda::LambdaChoice;
use crate::config::Config;

/// Version of `run.json`, `predictions.parquet` and `result.json`.
pub const SCHEMA_VERSION: u32 = 4;

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

/// What a run was, is and cost.
#[derive(Debug, Clone, PartialEq)]
pub struct RunRecord {
    /// Version of the file formats of a run folder; reading upgrades an older record to [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// Version of the mkgc that wrote the record. A run does not go on with another version.
    pub code_version: String,
    /// Method name; for an external run, the name given to `mkgc score` or `mkgc stream`.
    pub method: String,
    /// Name of the settings, where runs of one method differ in them, e.g. in an ablation.
    pub variant: Option<String>,
    /// What the method may keep between tasks.
    pub memory_budget: String,
    /// What the run learns, in which order, and the fingerprint of these rows.
    pub dataset: DatasetRecord,
    /// How the model came about.
    pub model: Model,
    /// After how many of the benchmark's tasks the run stops (`--tasks`), if not after the last one.
    pub stop_after: Option<usize>,
    /// What the run cost, once it is finished.
    pub cost: Option<Cost>,
}

/// How the model of a run came about.
#[derive(Debug, Clone, PartialEq)]
pub enum Model {
    /// mkgc trained the model, with these encoders and settings.
    Trained(Box<Trained>),
    /// Another program trained the model, and `mkgc score` or `mkgc stream` took its predictions.
    External {
        /// Where the predictions come from.
        source: ExternalRecord,
        /// Seed that the model was trained with, as the user gave it.
        train_seed: u64,
    },
}

/// What a model of mkgc was trained with.
#[derive(Debug, Clone, PartialEq)]
pub struct Trained {
    /// Which files the text encoder was read from, or that it is built in.
    pub encoder: EncoderRecord,
    /// What the vision stream saw; none for methods that read the text alone.
    pub vision: Option<VisionRecord>,
    /// Device that the run computed on: `cpu`, `cuda` or `cuda:N`.
    pub device: String,
    /// Number type of weights and activations.
    pub dtype: String,
    /// Threads that matrix products use.
    pub threads: usize,
    /// Every setting, also those that the method does not read.
    pub config: Config,
    /// Origin of each setting: `default`, the recipe's name or `flag`.
    pub origins: BTreeMap<String, String>,
}

impl RunRecord {
    /// Describes a run whose model was trained outside mkgc and is called `name`.
    pub fn external(manifest: &Manifest, name: &str, train_seed: u64, source: ExternalRecord) -> Self {
        Self {
            schema_version: SCHEMA_VERSION,
            code_version: env!("CARGO_PKG_VERSION").to_owned(),
            method: name.to_owned(),
            variant: None,
            memory_budget: "not known".to_owned(),
            dataset: DatasetRecord::new(manifest),
            model: Model::External { source, train_seed },
            stop_after: None,
            cost: None,
        }
    }

    /// Returns what the model was trained with; none for an external run.
    pub fn trained(&self) -> Option<&Trained> {
        match &self.model {
            Model::Trained(trained) => Some(trained),
            Model::External { .. } => None,
        }
    }

    /// Returns whether the model was trained outside mkgc.
    pub fn is_external(&self) -> bool {
        self.trained().is_none()
    }

    /// Returns the seed that the model was trained with.
    pub fn train_seed(&self) -> u64 {
        match &self.model {
            Model::Trained(trained) => trained.config.train_seed,
            Model::External { train_seed, .. } => *train_seed,
        }
    }

    /// Returns what the vision stream saw; none for methods that read the text alone and for external runs.
    pub fn vision(&self) -> Option<&VisionRecord> {
        self.trained()?.vision.as_ref()
    }

    /// Returns the SHA-256 of the text encoder's weights (or `tiny`); none for an external run.
    pub fn encoder_identity(&self) -> Option<&str> {
        Some(&self.trained()?.encoder.identity)
    }

    /// Returns the kind of the device: `cpu`, `cuda`, or `external` for an external run.
    pub fn device_kind(&self) -> &str {
        self.trained().map_or("external", |trained| trained.device.split(':').next().unwrap_or_default())
    }

    /// Returns the number of tasks that the run learns.
    pub fn tasks(&self) -> usize {
        let all = self.dataset.tasks.len();
        self.stop_after.map_or(all, |tasks| tasks.min(all))
    }

    /// Returns `3 of 10 tasks` for a run that stops early.
    pub fn shortened(&self) -> Option<String> {
        self.stop_after.map(|_| format!("{} of {} tasks", self.tasks(), self.dataset.tasks.len()))
    }

    /// Returns the first difference that prevents resuming this run with `other`'s settings.
    pub fn difference(&self, other: &Self) -> Option<&'static str> {
        let shared = [
            ("mkgc version", self.code_version == other.code_version),
            ("method", self.method == other.method && self.variant == other.variant),
            ("benchmark", self.dataset == other.dataset),
        ];
        let differs = shared.into_iter().find(|(_, same)| !same).map(|(what, _)| what);
        differs.or_else(|| self.model_difference(other))
    }

    fn model_difference(&self, other: &Self) -> Option<&'static str> {
        if let Some((ours, theirs)) = self.stream().zip(other.stream()) {
            let checks = [
                ("version of the stream's protocol", ours.protocol == theirs.protocol),
                ("memory budget", ours.memory == theirs.memory),
                ("seed (--train-seed)", self.train_seed() == other.train_seed()),
            ];
            return checks.into_iter().find(|(_, same)| !same).map(|(what, _)| what);
        }
        let (Some(ours), Some(theirs)) = (self.trained(), other.trained()) else { return Some("origin") };
        let checks = [
            ("encoder", ours.encoder.is_same(&theirs.encoder)),
            ("vision encoder or set of images", same_vision(ours.vision.as_ref(), theirs.vision.as_ref())),
            // Not the threads: they do not change a number.
            ("device", ours.device == theirs.device),
            ("number type (--dtype)", ours.dtype == theirs.dtype),
            ("configuration", ours.config == theirs.config),
        ];
        checks.into_iter().find(|(_, same)| !same).map(|(what, _)| what)
    }

    /// Returns whether a run of which `learned` tasks are learned would have learned the same with the settings of `other`:
    /// nothing depends on settings before the first task is learned, and that task does not depend on those of `later`.
    pub fn may_become(&self, other: &Self, learned: usize, later: &[&str]) -> bool {
        let same_run = self.method == other.method && self.variant == other.variant && self.dataset == other.dataset;
        let (Some(ours), Some(theirs)) = (self.trained(), other.trained()) else { return false };
        let with_theirs = Trained { config: theirs.config.clone(), ..ours.clone() };
        let rest = Self { model: Model::Trained(Box::new(with_theirs)), ..self.clone() };
        match learned {
            0 => same_run,
            1 => {
                let keys = self.changed_settings(other);
                rest.difference(other).is_none() && keys.iter().all(|(key, ..)| later.contains(&key.as_str()))
            }
            _ => false,
        }
    }

    /// Returns the settings whose values differ, as `batch_size 16, now 8`; none if no setting differs.
    pub fn changes(&self, other: &Self) -> Option<String> {
        let changed = self.changed_settings(other);
        let texts = changed.into_iter().map(|(key, before, now)| format!("{key} {before}, now {now}"));
        Some(texts.collect::<Vec<_>>().join("; ")).filter(|text| !text.is_empty())
    }

    /// Returns key and both values of every setting that differs.
    fn changed_settings(&self, other: &Self) -> Vec<(String, Value, Value)> {
        let table = |record: &Self| match record.trained().map(|trained| serde_json::to_value(&trained.config)) {
            Some(Ok(Value::Object(table))) => table,
            _ => serde_json::Map::new(),
        };
        let theirs = table(other);
        let pairs = table(self).into_iter().map(|(key, value)| {
            let now = theirs.get(&key).cloned().unwrap_or_default();
            (key, value, now)
        });
        pairs.filter(|(_, before, now)| before != now).collect()
    }

    /// Returns whether the method saw generated pictures in place of the corpus's own.
    pub fn stand_ins(&self) -> bool {
        self.vision().is_some_and(|vision| vision.stand_in_images > 0)
    }

    /// Returns the mark of a model that was trained outside mkgc, which says whether its predictions come from files or
    /// from a stream that mkgc dealt out.
    fn external_mark(&self) -> &'static str {
        match &self.model {
            Model::Trained(_) => "",
            Model::External { source, .. } if source.stream.is_some() => " (external, stream)",
            Model::External { .. } => " (external)",
        }
    }

    /// Returns how `mkgc stream` dealt out the benchmark; none for every other run.
    pub fn stream(&self) -> Option<&StreamRecord> {
        match &self.model {
            Model::External { source, .. } => source.stream.as_deref(),
            Model::Trained(_) => None,
        }
    }

    /// Returns how many rows are stored after the last task, if that is recorded.
    pub fn stored_rows(&self) -> Option<usize> {
        let trained = self.cost.as_ref().map(|cost| cost.stored_rows);
        trained.or_else(|| self.stream().map(|stream| stream.stored_rows))
    }

    /// Returns how long learning and predicting took, in minutes, if that is recorded.
    pub fn minutes(&self) -> Option<f64> {
        let of_phases = |stream: &StreamRecord| -> f64 {
            stream.phases.iter().map(|phase| phase.learn_seconds + phase.predict_seconds).sum()
        };
        let seconds = self.cost.as_ref().map(|cost| cost.wall_seconds).or_else(|| self.stream().map(of_phases));
        seconds.map(|seconds| seconds / 60.0)
    }

    /// Returns the method's name as reports show it. Marks name the variant, the number of tasks of a run that stopped
    /// early, pictures other than the corpus's own (a control of the setting `visual`, or generated ones), and a model
    /// that was trained outside mkgc.
    pub fn label(&self) -> String {
        let variant = self.variant.as_ref().map_or_else(String::new, |variant| format!(" [{variant}]"));
        let stand_in = if self.stand_ins() { " (stand-in images)" } else { "" };
        let external = self.external_mark();
        let shortened = self.shortened().map_or_else(String::new, |tasks| format!(" ({tasks})"));
        let shown = self.trained().filter(|trained| trained.vision.is_some());
        let control = shown.and_then(|trained| trained.config.visual.control());
        let control = control.map_or_else(String::new, |control| format!(" ({control})"));
        format!("{}{variant}{shortened}{control}{stand_in}{external}", self.method)
    }
}

fn same_vision(ours: Option<&VisionRecord>, theirs: Option<&VisionRecord>) -> bool {
    match (ours, theirs) {
        (Some(ours), Some(theirs)) => {
            let encoder = ours.encoder.clone();
            ours.encoder.is_same(&theirs.encoder) && *ours == VisionRecord { encoder, ..theirs.clone() }
        }
        (ours, theirs) => ours.is_none() && theirs.is_none(),
    }
}

#[cfg(test)]
mod tests;
