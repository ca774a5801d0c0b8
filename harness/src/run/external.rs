//! The record of a run whose model was trained outside mkgc. `run.json` then leaves out what mkgc cannot know:
//! encoder, device, threads and every setting but the seed. In memory, marks stand there that are never shown.

use mkgc_builder::corpus::TaskKind;
use mkgc_builder::dataset::Manifest;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::record::{EncoderRecord, RunRecord};
use crate::config::{Config, Resolved};
use crate::error::Result;

/// Where the predictions of an external run come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExternalRecord {
    /// What the model is, in words.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub description: Option<String>,
    /// Where to read more.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub url: Option<String>,
    /// The files scored.
    pub predictions: Vec<PredictionsRecord>,
}

/// A file of predictions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PredictionsRecord {
    /// Its name, without folders.
    pub name: String,
    /// Its SHA-256.
    pub sha256: String,
}

/// Stands for what is not known, also as a device kind.
pub const UNKNOWN: &str = "external";

/// Keys that `run.json` leaves out.
const LEFT_OUT: [&str; 5] = ["encoder", "device", "dtype", "threads", "origins"];

impl RunRecord {
    /// A record of an external run.
    pub fn external(manifest: &Manifest, name: &str, train_seed: u64, external: ExternalRecord) -> Self {
        let config = Config { train_seed, ..Config::default_for(manifest.task, "") };
        let resolved = Resolved { config, origins: [].into() };
        let (dtype, threads, memory_budget) = (UNKNOWN.to_owned(), 0, "not known".to_owned());
        let known = Self::new(manifest, name, EncoderRecord::built_in(UNKNOWN), UNKNOWN, &resolved);
        Self { dtype, threads, memory_budget, external: Some(external), ..known }
    }
}

/// What `run.json` holds of an external run.
pub fn to_json(record: &RunRecord) -> Result<Value> {
    let mut value = serde_json::to_value(record)?;
    if let Some(keys) = value.as_object_mut() {
        keys.retain(|key, _| !LEFT_OUT.contains(&key.as_str()));
    }
    value["config"] = serde_json::json!({"train_seed": record.config.train_seed});
    Ok(value)
}

/// Puts marks where `run.json` says nothing.
pub(super) fn complete(value: &mut Value, task: TaskKind) -> std::result::Result<(), String> {
    let mut config = serde_json::to_value(Config::default_for(task, "")).map_err(|error| error.to_string())?;
    config["train_seed"] = value.pointer("/config/train_seed").cloned().ok_or("no train_seed")?;
    value["config"] = config;
    for key in LEFT_OUT {
        value[key] = match key {
            "encoder" => serde_json::json!({"name": UNKNOWN, "identity": UNKNOWN}),
            "threads" => 0.into(),
            "origins" => Map::new().into(),
            _ => UNKNOWN.into(),
        };
    }
    Ok(())
}
