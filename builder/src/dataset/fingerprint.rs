//! Content fingerprints: SHA-256 over rows in order, independent of the Parquet writer's version and compression.

use std::path::Path;

use sha2::{Digest, Sha256};

use super::folder::read_batches;
use super::manifest::Manifest;
use super::pictures::each_picture_key;
use super::rows::{Row, RowLabels};
use crate::error::Result;
use crate::files::hex;

/// What a Parquet file contains, however it is encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    pub rows: usize,
    /// Hash of the rows in order.
    pub fingerprint: String,
}

/// Hashes a sequence of fields. Each is preceded by its length, so that no two different sequences feed the same bytes
/// to the hash.
#[derive(Default)]
struct FieldHasher(Sha256);

impl FieldHasher {
    fn text(&mut self, text: &str) {
        self.number(text.len());
        self.0.update(text);
    }

    fn number(&mut self, number: usize) {
        self.0.update((number as u64).to_le_bytes());
    }

    fn texts(&mut self, texts: &[String]) {
        self.number(texts.len());
        texts.iter().for_each(|text| self.text(text));
    }

    fn hex(self) -> String {
        hex(&self.0.finalize())
    }
}

/// Fingerprints rows: everything but the bytes of an embedded picture. A label counts by its name.
pub struct RowHasher<'a> {
    labels: &'a [String],
    rows: usize,
    fields: FieldHasher,
}

impl<'a> RowHasher<'a> {
    /// Starts a hash over rows whose labels are ids into `labels`.
    pub fn new(labels: &'a [String]) -> Self {
        Self { labels, rows: 0, fields: FieldHasher::default() }
    }

    /// Adds the next rows to the hash.
    pub fn add(&mut self, rows: &[Row]) {
        self.rows += rows.len();
        rows.iter().for_each(|row| self.add_row(row));
    }

    fn add_row(&mut self, row: &Row) {
        let Self { labels, fields, .. } = self;
        fields.text(&row.id);
        fields.texts(&row.tokens);
        fields.number(row.owner_task.map_or(0, |task| task + 1));
        if let Some(image_id) = &row.image_id {
            fields.text(image_id);
            fields.texts(&row.crops);
        }
        match &row.labels {
            RowLabels::Relation { head, tail, relation, original } => {
                for mention in [head, tail] {
                    fields.text(&mention.name);
                    fields.number(mention.start);
                    fields.number(mention.end);
                }
                fields.text(&labels[*relation]);
                fields.text(&labels[*original]);
            }
            RowLabels::Entities { tags, original } => {
                for tag in tags.iter().chain(original) {
                    fields.text(&labels[*tag]);
                }
            }
        }
    }

    /// Returns number and fingerprint of the rows added.
    pub fn finish(self) -> Content {
        Content { rows: self.rows, fingerprint: self.fields.hex() }
    }
}

/// Fingerprints the rows of a task file of a benchmark.
///
/// # Errors
/// The file is missing or damaged.
pub fn rows_content(path: &Path, manifest: &Manifest) -> Result<Content> {
    let mut hasher = RowHasher::new(&manifest.labels);
    read_batches(path, manifest, |rows| hasher.add(&rows))?;
    Ok(hasher.finish())
}

/// Fingerprints the pictures of an images or crops file: their texts, the hashes of their bytes, and their sizes.
#[derive(Default)]
pub struct PictureHasher {
    rows: usize,
    fields: FieldHasher,
}

impl PictureHasher {
    /// Adds the next picture to the hash, with the texts of its other columns.
    pub fn add<'a>(&mut self, texts: impl IntoIterator<Item = &'a str>, sha256: &str, width: i32, height: i32) {
        self.rows += 1;
        texts.into_iter().for_each(|text| self.fields.text(text));
        self.fields.text(sha256);
        self.fields.text(&format!("{width}x{height}"));
    }

    /// Returns number and fingerprint of the pictures added.
    pub fn finish(self) -> Content {
        Content { rows: self.rows, fingerprint: self.fields.hex() }
    }
}

/// Fingerprints an images or crops file.
///
/// # Errors
/// The file cannot be read.
pub fn pictures_content(path: &Path) -> Result<Content> {
    let mut hasher = PictureHasher::default();
    each_picture_key(path, |key| {
        hasher.add(key.texts.iter().map(String::as_str), &key.sha256, key.width, key.height);
    })?;
    Ok(hasher.finish())
}

/// Combines the fingerprints of the task files, in order, to that of the benchmark. Pictures are left out, so that runs
/// on the same rows compare whether or not the pictures were available.
pub fn combined_fingerprint<'a>(fingerprints: impl Iterator<Item = &'a str>) -> String {
    let mut fields = FieldHasher::default();
    fingerprints.for_each(|fingerprint| fields.text(fingerprint));
    fields.hex()
}
