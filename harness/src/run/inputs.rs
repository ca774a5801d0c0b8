//! What `run.json` says of the data and the encoders that a run used.

use std::path::Path;

use mkgc_builder::corpus::Extraction;
use mkgc_builder::dataset::Manifest;
use mkgc_builder::files::sha256_file;
use mkgc_builder::labels::LabelSet;
use mkgc_models::inputs::Visual;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::Result;

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
    pub task: Extraction,
    /// Content fingerprint of the built folder.
    pub fingerprint: String,
    /// Label names by id.
    pub labels: Vec<String>,
    /// The stream.
    pub tasks: Vec<TaskRecord>,
}

impl DatasetRecord {
    /// Describes the benchmark of a manifest.
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
    /// Describes a built-in shape with seeded weights.
    pub fn built_in(name: &str) -> Self {
        Self { name: name.to_owned(), identity: name.to_owned(), revision: None }
    }

    /// Describes weights from a file.
    ///
    /// # Errors
    /// The file cannot be read.
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

/// Returns the last part of a folder's path: where the weights lay on one machine says nothing on another.
fn last_part(encoder: &str) -> String {
    let name = Path::new(encoder).file_name();
    name.map_or_else(|| encoder.to_owned(), |name| name.to_string_lossy().into_owned())
}
