//! `manifest.json`: what a benchmark folder contains and where it came from. Doc comments of fields are part of the
//! published JSON Schema.

use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::layout::task_file;
use super::schema::RowPictures;
use crate::corpus::{CorpusName, Extraction, SourceFile, Split};
use crate::error::{Error, Result};
use crate::labels::LabelSet;

/// Version of the folder's layout and of the manifest.
pub const SCHEMA_VERSION: u32 = 1;

/// A task of the stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ManifestTask {
    /// Name shown to people.
    pub name: String,
    /// Classes introduced here.
    pub classes: Vec<String>,
}

/// A file of the folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ManifestFile {
    /// Path relative to the folder, with `/`.
    pub path: String,
    /// Rows of a Parquet file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows: Option<usize>,
    /// Size.
    pub bytes: u64,
    /// SHA-256 of the file.
    pub sha256: String,
    /// Content fingerprint of a Parquet file, order-sensitive, independent of the writer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
}

/// The manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Manifest {
    /// [`SCHEMA_VERSION`] at the time of writing.
    pub schema_version: u32,
    /// Benchmark name.
    pub name: String,
    /// One line for people.
    pub description: String,
    /// Corpus.
    #[schemars(with = "CorpusName")]
    pub corpus: String,
    /// Task kind.
    pub task: Extraction,
    /// Folder name in the published text layout.
    pub published: String,
    /// `cumulative` or `per-task`.
    pub tests: String,
    /// Label names by id; id 0 is `None` or `O`.
    pub labels: Vec<String>,
    /// Tasks in order.
    pub tasks: Vec<ManifestTask>,
    /// SHA-256 of the protocol file.
    pub protocol_sha256: String,
    /// Its text.
    pub protocol: String,
    /// The corpus files.
    pub sources: Vec<SourceFile>,
    /// Whether rows missing upstream were left out.
    pub as_published: bool,
    /// Whether the corpus has no pictures, so that rows name none.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub text_only: bool,
    /// Whether pictures are part of the folder.
    pub images: bool,
    /// Whether they are in the rows rather than in a file of their own.
    pub embed_images: bool,
    /// Over the fingerprints of the task files: the identity of the benchmark.
    pub fingerprint: String,
    /// Every file but this one.
    pub files: Vec<ManifestFile>,
}

impl Manifest {
    /// Reads a manifest.
    ///
    /// # Errors
    /// The file is not a manifest, or is one of another schema version.
    pub fn read(path: &Path) -> Result<Self> {
        let value: serde_json::Value = serde_json::from_slice(&fs_err::read(path)?)
            .map_err(|error| Error::dataset(path, format!("not a manifest: {error}")))?;
        let version = value.get("schema_version").and_then(serde_json::Value::as_u64);
        if version != Some(u64::from(SCHEMA_VERSION)) {
            let found = version.map_or_else(|| "none".to_owned(), |version| version.to_string());
            let reason =
                format!("schema version {found}, this program reads {SCHEMA_VERSION}; rebuild with `mkgc build`");
            return Err(Error::dataset(path, reason));
        }
        serde_json::from_value(value).map_err(|error| Error::dataset(path, format!("not a manifest: {error}")))
    }

    /// Returns the entry of a task file.
    pub fn task_file(&self, task: usize, split: Split) -> Option<&ManifestFile> {
        let path = task_file(task, split);
        self.files.iter().find(|file| file.path == path)
    }

    /// Returns what the task files say of pictures.
    pub(crate) fn row_pictures(&self) -> RowPictures {
        match (self.text_only, self.embed_images) {
            (true, _) => RowPictures::None,
            (false, true) => RowPictures::Embedded,
            (false, false) => RowPictures::Named,
        }
    }

    /// Returns the labels with their classes and tasks.
    pub fn label_set(&self) -> LabelSet {
        LabelSet::new(self.task, &self.labels, self.tasks.iter().map(|task| task.classes.as_slice()))
    }
}
