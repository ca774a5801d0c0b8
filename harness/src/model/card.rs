//! `mkgc.json`: what a saved model is.

use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::CARD;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::files::read_json;
use crate::learner::Architecture;
use crate::run::record::{DatasetRecord, EncoderRecord, RunRecord, Trained, VisionRecord};

/// Version of the layout of saved models.
pub const MODEL_VERSION: u32 = 1;

/// What `mkgc.json` says of a saved model: its method, what it has learned, and with which encoders and settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "SavedModel")]
pub struct ModelCard {
    /// Version of the layout of saved models; a model of another version cannot be opened.
    #[schemars(extend("const" = MODEL_VERSION))]
    pub schema_version: u32,
    /// Version of mkgc that trained the model.
    pub code_version: String,
    /// Method that trained the model and says how it predicts.
    pub method: String,
    /// Name of the settings, where runs of one method differ in them.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub variant: Option<String>,
    /// Number of tasks that the model has learned; it predicts their labels.
    pub tasks_learned: usize,
    /// The benchmark: its name, its fingerprint, and the labels by id.
    pub dataset: DatasetRecord,
    /// The encoder that training began with.
    pub encoder: EncoderRecord,
    /// What the vision stream saw; none for methods that read the text alone.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub vision: Option<VisionRecord>,
    /// Whether the text encoder alone computes the states that the head reads. It does not where streams share keys or
    /// read each other.
    pub text_alone: bool,
    /// Number type of states and products in training; the tensors are f32.
    pub dtype: String,
    /// Settings that the model was trained with.
    pub config: Config,
}

impl ModelCard {
    /// Describes the network of a run after `tasks_learned` tasks.
    pub(super) fn new(record: &RunRecord, trained: &Trained, architecture: Architecture, tasks_learned: usize) -> Self {
        let config = trained.config.clone();
        let text_alone = match architecture {
            Architecture::Text => true,
            Architecture::Dual => config.shared_layers == 0 || config.key == mkgc_models::networks::Key::Own,
            Architecture::Mkgformer => config.interaction_layers == 0,
        };
        Self {
            schema_version: MODEL_VERSION,
            code_version: record.code_version.clone(),
            method: record.method.clone(),
            variant: record.variant.clone(),
            tasks_learned,
            dataset: record.dataset.clone(),
            encoder: trained.encoder.clone(),
            vision: trained.vision.clone(),
            text_alone,
            dtype: trained.dtype.clone(),
            config,
        }
    }

    /// Reads the card of a saved model.
    ///
    /// # Errors
    /// The folder holds no model, one of a later version, or a damaged card.
    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(CARD);
        let refused = |reason: String| Error::Usage(format!("{}: {reason}", path.display()));
        if !path.is_file() {
            let reason = "is missing, so this is no saved model; `mkgc train --save-model` keeps one in its run folder";
            return Err(refused(reason.to_owned()));
        }
        let value: Value = read_json(&path)?;
        match value.get("schema_version").and_then(Value::as_u64) {
            Some(version) if version == u64::from(MODEL_VERSION) => {}
            Some(version) => {
                let reason =
                    format!("has schema version {version}, and this mkgc reads {MODEL_VERSION}; use a newer mkgc");
                return Err(refused(reason));
            }
            None => return Err(refused("has no schema_version, so it is not the card of a saved model".to_owned())),
        }
        let card: Self = serde_json::from_value(value)
            .map_err(|error| refused(format!("is damaged ({error}); save the model again")))?;
        if !(1..=card.dataset.tasks.len()).contains(&card.tasks_learned) {
            let tasks = card.dataset.tasks.len();
            return Err(refused(format!("tasks_learned is {}, but there are {tasks} tasks", card.tasks_learned)));
        }
        Ok(card)
    }

    /// Says which model this is, e.g. `emr after task 2 of 4 of demo-re`.
    pub fn title(&self) -> String {
        let variant = self.variant.as_ref().map_or_else(String::new, |variant| format!(" [{variant}]"));
        let tasks = self.dataset.tasks.len();
        format!("{}{variant} after task {} of {tasks} of {}", self.method, self.tasks_learned, self.dataset.name)
    }
}
