//! The layout of `run.json`. A run of mkgc has every field; a run whose model was trained elsewhere leaves out what mkgc
//! cannot know: encoder, device, number type, threads, origins, and every setting but the seed.

use std::collections::BTreeMap;

use mkgc_builder::plain::{self, Misread};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::DeserializeOwned;
use serde::ser::{Serialize, Serializer};
use serde_json::{Value, json};

use super::external::ExternalRecord;
use super::record::{Cost, DatasetRecord, EncoderRecord, Model, RunRecord, SCHEMA_VERSION, Trained, VisionRecord};
use super::versions;
use crate::config::Config;

/// What `run.json` says of a run: method, data, encoders, settings and cost.
#[derive(serde::Serialize, serde::Deserialize, JsonSchema)]
#[schemars(rename = "RunRecord", transform = leave_out_of_external)]
pub struct RunFile {
    /// Version of the file formats of a run folder: `run.json`, `predictions.parquet` and `result.json`.
    #[schemars(extend("const" = SCHEMA_VERSION))]
    schema_version: u32,
    /// Version of the mkgc that wrote the record.
    code_version: String,
    /// Method name; for an external run, the name given to `mkgc score` or `mkgc stream`.
    method: String,
    /// What tells this run's settings from others of the method.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    variant: Option<String>,
    /// Where the predictions come from, if the model was trained outside mkgc.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    external: Option<ExternalRecord>,
    /// What the method may keep between tasks.
    #[serde(default)]
    memory_budget: String,
    /// What the run learns, in which order, and the fingerprint of these rows.
    dataset: DatasetRecord,
    /// Which files the text encoder was read from, or that it is built in (`tiny`).
    encoder: EncoderRecord,
    /// What a multimodal method saw.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    vision: Option<VisionRecord>,
    /// Device that the run computed on: `cpu`, `cuda` or `cuda:N`.
    device: String,
    /// Number type of weights and activations.
    dtype: String,
    /// Threads that matrix products use.
    threads: usize,
    /// Every setting, also those that the method does not read; of an external run, `train_seed` alone.
    config: Config,
    /// Where each setting came from.
    origins: BTreeMap<String, String>,
    /// After how many of the benchmark's tasks the run stops (`--tasks`), if not after the last one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    stop_after: Option<usize>,
    /// What the run cost, once it is finished.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    cost: Option<Cost>,
}

/// What a run has whose model mkgc trained, and no other.
const OF_TRAINED: [&str; 5] = ["encoder", "device", "dtype", "threads", "origins"];

/// Changes the schema of a run whose model mkgc trained to that of both kinds: a run with the key `external` need not have
/// [`OF_TRAINED`], and of the settings only the seed.
fn leave_out_of_external(schema: &mut Schema) {
    let of_both = |key: &Value| !OF_TRAINED.iter().any(|own| key == own);
    if let Some(required) = schema.get_mut("required").and_then(Value::as_array_mut) {
        required.retain(of_both);
    }
    let config = schema.pointer_mut("/properties/config").and_then(Value::as_object_mut);
    let every = config.and_then(|config| config.remove("$ref"));
    schema.insert("if".to_owned(), json!({"required": ["external"]}));
    let seed = Seed::json_schema(&mut SchemaGenerator::default());
    schema.insert("then".to_owned(), json!({"properties": {"config": seed}}));
    schema.insert("else".to_owned(), json!({"properties": {"config": {"$ref": every}}, "required": OF_TRAINED}));
}

/// The `run.json` of a model trained outside mkgc.
#[derive(serde::Serialize, serde::Deserialize)]
struct ExternalFile {
    schema_version: u32,
    code_version: String,
    method: String,
    external: ExternalRecord,
    #[serde(default)]
    memory_budget: String,
    dataset: DatasetRecord,
    config: Seed,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    stop_after: Option<usize>,
}

/// The one setting that is known of an external run.
#[derive(serde::Serialize, serde::Deserialize, JsonSchema)]
struct Seed {
    /// Seed that the model was trained with, as the user gave it.
    train_seed: u64,
}

impl Serialize for RunRecord {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let record = self.clone();
        match record.model.clone() {
            Model::Trained(trained) => trained_file(record, *trained).serialize(serializer),
            Model::External { source, train_seed } => ExternalFile {
                schema_version: record.schema_version,
                code_version: record.code_version,
                method: record.method,
                external: source,
                memory_budget: record.memory_budget,
                dataset: record.dataset,
                config: Seed { train_seed },
                stop_after: record.stop_after,
            }
            .serialize(serializer),
        }
    }
}

fn trained_file(record: RunRecord, trained: Trained) -> RunFile {
    RunFile {
        schema_version: record.schema_version,
        code_version: record.code_version,
        method: record.method,
        variant: record.variant,
        external: None,
        memory_budget: record.memory_budget,
        dataset: record.dataset,
        encoder: trained.encoder,
        vision: trained.vision,
        device: trained.device,
        dtype: trained.dtype,
        threads: trained.threads,
        config: trained.config,
        origins: trained.origins,
        stop_after: record.stop_after,
        cost: record.cost,
    }
}

impl RunRecord {
    /// Reads the `run.json` of any released version.
    ///
    /// # Errors
    /// A later version, or a damaged file.
    pub fn from_json(value: Value) -> Result<Self, String> {
        let value = versions::upgraded(value, SCHEMA_VERSION)?;
        let is_external = value.get("external").is_some();
        let record = if is_external { external(&value) } else { trained(&value) }?;
        // Scores are those after some task.
        if record.dataset.tasks.is_empty() {
            return Err("`dataset.tasks` is empty, but a benchmark has one task at least".to_owned());
        }
        Ok(record)
    }
}

/// Reads a value as the layout of a file.
///
/// # Errors
/// A key is missing or of another type.
fn layout<T: DeserializeOwned>(value: &Value) -> Result<T, String> {
    // The text says in plain words what is wrong; it is not read otherwise, because it may round numbers.
    let words = |error: serde_json::Error| match plain::json::<T>(value.to_string().as_bytes()) {
        Err(misread) => Misread { line: None, ..misread }.to_string(),
        Ok(_) => error.to_string(),
    };
    T::deserialize(value).map_err(words)
}

fn trained(value: &Value) -> Result<RunRecord, String> {
    let file: RunFile = layout(value)?;
    let trained = Trained {
        encoder: file.encoder,
        vision: file.vision,
        device: file.device,
        dtype: file.dtype,
        threads: file.threads,
        config: file.config,
        origins: file.origins,
    };
    Ok(RunRecord {
        schema_version: file.schema_version,
        code_version: file.code_version,
        method: file.method,
        variant: file.variant,
        memory_budget: file.memory_budget,
        dataset: file.dataset,
        model: Model::Trained(Box::new(trained)),
        stop_after: file.stop_after,
        cost: file.cost,
    })
}

fn external(value: &Value) -> Result<RunRecord, String> {
    let file: ExternalFile = layout(value)?;
    Ok(RunRecord {
        schema_version: file.schema_version,
        code_version: file.code_version,
        method: file.method,
        variant: None,
        memory_budget: file.memory_budget,
        dataset: file.dataset,
        model: Model::External { source: file.external, train_seed: file.config.train_seed },
        stop_after: file.stop_after,
        cost: None,
    })
}
