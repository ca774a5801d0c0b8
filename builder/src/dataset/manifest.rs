//! `manifest.json`: what a benchmark folder contains and where it came from. Doc comments of fields are part of the
//! published JSON Schema.

use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::layout::{is_part_of, task_file};
use super::schema::RowPictures;
use crate::corpus::{Extraction, SourceFile, Split};
use crate::error::{Error, Result};
use crate::files::{is_plain_name, sha256_file, stays_inside};
use crate::labels::LabelSet;
use crate::plain;

/// Version of the folder's layout and of the manifest.
pub const SCHEMA_VERSION: u32 = 1;

/// A task of the stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ManifestTask {
    /// Name of the task as tables show it.
    pub name: String,
    /// Classes that the task introduces.
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
    /// Size of the file in bytes.
    pub bytes: u64,
    /// Lower-case hexadecimal SHA-256 of the file's bytes, which `mkgc verify` compares.
    pub sha256: String,
    /// Content fingerprint of a Parquet file, order-sensitive, independent of the writer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
}

/// How closely a file is compared with its entry in the manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closeness {
    /// The file is there and has the size.
    Size,
    /// The file also has the SHA-256.
    Sum,
}

impl ManifestFile {
    /// Compares the file with its entry.
    ///
    /// # Errors
    /// It differs; the error says how.
    pub(crate) fn check(&self, dir: &Path, closeness: Closeness) -> std::result::Result<(), String> {
        let path = dir.join(&self.path);
        if !path.is_file() {
            return Err("missing".to_owned());
        }
        if closeness == Closeness::Sum {
            let sha256 = sha256_file(&path).map_err(|error| error.to_string())?;
            if sha256 != self.sha256 {
                return Err(format!("SHA-256 is {sha256}, the manifest says {}", self.sha256));
            }
        }
        let bytes = fs_err::metadata(&path).map_err(|error| error.to_string())?.len();
        if bytes != self.bytes {
            return Err(format!("{bytes} bytes, the manifest says {}", self.bytes));
        }
        Ok(())
    }
}

/// What `manifest.json` holds: all that a reader needs to know of a benchmark folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Manifest {
    /// [`SCHEMA_VERSION`] at the time of writing.
    pub schema_version: u32,
    /// Name of the benchmark, which is that of its protocol.
    pub name: String,
    /// One line that says what the benchmark is.
    pub description: String,
    /// Name of the corpus that the benchmark was cut from.
    pub corpus: String,
    /// Whether rows have a relation or tags.
    pub task: Extraction,
    /// Folder name in the published text layout.
    pub published: String,
    /// Which of the protocol's several orders this is, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<usize>,
    /// Whether a test holds the rows of all tasks so far (`cumulative`) or of one task (`per-task`).
    pub tests: String,
    /// Label names by id; id 0 is `None` or `O`.
    pub labels: Vec<String>,
    /// Tasks in the order of learning.
    pub tasks: Vec<ManifestTask>,
    /// SHA-256 of the protocol file.
    pub protocol_sha256: String,
    /// Full text of the protocol file (TOML), whose hash is `protocol_sha256`.
    pub protocol: String,
    /// Corpus files that the rows were read from.
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
    /// Whether splits have pictures of their own, so that a picture is known by its split and its name.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub images_by_split: bool,
    /// Over the fingerprints of the task files: the identity of the benchmark.
    pub fingerprint: String,
    /// Every file but this one.
    pub files: Vec<ManifestFile>,
}

impl Manifest {
    /// Reads a manifest.
    ///
    /// # Errors
    /// The file is not a manifest, is one of another schema version, names no task or no label, or names a path that leads
    /// out of its folder.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = fs_err::read(path)?;
        let misread = |misread: plain::Misread| Error::dataset(path, format!("not a manifest: {misread}"));
        let value: serde_json::Value = plain::json(&bytes).map_err(misread)?;
        let version = value.get("schema_version").and_then(serde_json::Value::as_u64);
        if version != Some(u64::from(SCHEMA_VERSION)) {
            let found = version.map_or_else(|| "none".to_owned(), |version| version.to_string());
            let reason =
                format!("schema version {found}, this program reads {SCHEMA_VERSION}; rebuild with `mkgc build`");
            return Err(Error::dataset(path, reason));
        }
        let manifest: Self = plain::json(&bytes).map_err(misread)?;
        if manifest.tasks.is_empty() || manifest.labels.is_empty() {
            let reason = "names no task or no label; build or download the benchmark again";
            return Err(Error::dataset(path, reason));
        }
        match manifest.path_outside() {
            Some((key, name)) => {
                let remedy = "take the benchmark from somebody you trust, or build it yourself";
                Err(Error::dataset(path, format!("`{key}` is `{name}`, which leads out of the folder; {remedy}")))
            }
            None => Ok(manifest),
        }
    }

    /// Returns a key and its value that becomes a path and would lead out of the folder that it is joined to.
    fn path_outside(&self) -> Option<(&'static str, &str)> {
        if !is_plain_name(&self.name) {
            return Some(("name", &self.name));
        }
        let files = self.files.iter().map(|file| ("files.path", file.path.as_str()));
        [("published", self.published.as_str())].into_iter().chain(files).find(|(_, path)| !stays_inside(path))
    }

    /// Returns the entry of a task file.
    pub fn task_file(&self, task: usize, split: Split) -> Option<&ManifestFile> {
        let path = task_file(task, split);
        self.files.iter().find(|file| file.path == path)
    }

    /// Returns the entries of [`super::IMAGES_FILE`] or [`super::CROPS_FILE`]: that of the file, those of its shards in
    /// order, or none if the folder lacks it.
    pub fn parts(&self, file: &'static str) -> impl Iterator<Item = &ManifestFile> {
        self.files.iter().filter(move |entry| is_part_of(file, &entry.path))
    }

    /// Returns what the task files say of pictures.
    pub(crate) fn row_pictures(&self) -> RowPictures {
        RowPictures::new(self.text_only, self.embed_images)
    }

    /// Returns the labels with their classes and tasks.
    pub fn label_set(&self) -> LabelSet {
        LabelSet::new(self.task, &self.labels, self.tasks.iter().map(|task| task.classes.as_slice()))
    }
}
