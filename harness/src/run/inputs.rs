//! What `run.json` says of the data and the encoders that a run used.

use std::path::{Path, PathBuf};

use mkgc_builder::corpus::Extraction;
use mkgc_builder::dataset::Manifest;
use mkgc_builder::files::{sha256_file, sha256_hex};
use mkgc_builder::labels::LabelSet;
use mkgc_models::inputs::Visual;
use mkgc_models::pretrained::EncoderFiles;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::Result;

/// One task of the stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TaskRecord {
    /// Name of the task, as the protocol gives it, or else its classes.
    pub name: String,
    /// Classes that the task introduces: names of relations or entity types.
    pub classes: Vec<String>,
}

/// The benchmark a run used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DatasetRecord {
    /// Name of the benchmark, which is that of its protocol, e.g. `mnre-10`.
    pub name: String,
    /// Whether relations (`re`) or entities (`ner`) are extracted.
    pub task: Extraction,
    /// Content fingerprint of the built folder.
    pub fingerprint: String,
    /// Label names by id; id 0 is "no class", `None` or `O`.
    pub labels: Vec<String>,
    /// The tasks, in the order in which they are learned.
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

/// The encoder that training began with: its name, and hashes of its files.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EncoderRecord {
    /// `tiny`, the last part of the folder, or the repository.
    pub name: String,
    /// `tiny`, or the SHA-256 of the weights; of weights in several files, that of the lines `SHA-256  NAME` of all files in
    /// the order of their names, as `sha256sum` prints them.
    pub identity: String,
    /// SHA-256 of `config.json`; not known of older runs.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub config: Option<String>,
    /// SHA-256 of `tokenizer.json`. Where `vocab.txt` stands for it, that of `vocab.txt`, with `tokenizer_config.json` beside
    /// it hashed as weights in several files are. Not known of older runs.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub tokenizer: Option<String>,
    /// Commit of the repository the weights came from.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub revision: Option<String>,
}

impl EncoderRecord {
    /// Describes a built-in shape with seeded weights.
    pub fn built_in(name: &str) -> Self {
        Self { name: name.to_owned(), identity: name.to_owned(), ..Self::default() }
    }

    /// Describes an encoder of files.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn new(name: &str, files: &EncoderFiles) -> Result<Self> {
        let revision = files.revision.clone();
        let name = if revision.is_some() { name.to_owned() } else { last_part(name) };
        let identity = sum(&files.weights)?;
        let config = Some(sha256_file(&files.config)?);
        let tokenizer = if files.tokenizer.is_empty() { None } else { Some(sum(&files.tokenizer)?) };
        Ok(Self { name, identity, config, tokenizer, revision })
    }

    /// Returns the hashes besides that of the weights, as far as they are known, by what they are of.
    pub fn further(&self) -> impl Iterator<Item = (&'static str, &String)> {
        let hashes = [("config", self.config.as_ref()), ("tokenizer", self.tokenizer.as_ref())];
        hashes.into_iter().filter_map(|(of, hash)| Some((of, hash?)))
    }

    /// Returns whether both are the same network with the same tokenizer, as far as both records tell.
    pub fn is_same(&self, other: &Self) -> bool {
        let same = |one: &Option<String>, other: &Option<String>| one.is_none() || other.is_none() || one == other;
        self.identity == other.identity && same(&self.config, &other.config) && same(&self.tokenizer, &other.tokenizer)
    }
}

/// Returns the SHA-256 of a file; of several files, that of the lines that `sha256sum` prints of them.
fn sum(files: &[PathBuf]) -> Result<String> {
    match files {
        [file] => Ok(sha256_file(file)?),
        several => Ok(sha256_hex(sums(several)?.as_bytes())),
    }
}

/// Returns the lines that `sha256sum` prints of files, in the order of their names.
fn sums(files: &[PathBuf]) -> Result<String> {
    let mut lines = Vec::new();
    for path in files {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        lines.push(format!("{}  {name}\n", sha256_file(path)?));
    }
    lines.sort_by(|a, b| a[64..].cmp(&b[64..]));
    Ok(lines.concat())
}

/// What the vision stream of a run saw.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VisionRecord {
    /// The vision encoder that training began with.
    pub encoder: EncoderRecord,
    /// The form of what was shown: `image` or `crops`. What was chosen is the setting `visual`.
    pub layout: Visual,
    /// Number of distinct pictures or crops of the corpus that rows show.
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
