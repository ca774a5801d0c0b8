//! Content fingerprints: SHA-256 over rows in order, whatever the Parquet writer's version or compression.

use std::path::Path;

use sha2::{Digest, Sha256};

use super::{Row, RowLabels, read_picture_keys};
use crate::corpus::hex;
use crate::error::Result;

/// Collects fields so that no two different sequences of fields feed the same bytes to the hash: each is preceded by
/// its length.
#[derive(Default)]
struct Fields(Sha256);

impl Fields {
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

/// Fingerprint of rows: everything but the bytes of an embedded picture. Label ids count as their names.
pub fn rows_fingerprint(rows: &[Row], labels: &[String]) -> String {
    let mut fields = Fields::default();
    for row in rows {
        fields.text(&row.id);
        fields.texts(&row.tokens);
        fields.number(row.owner_task.map_or(0, |task| task + 1));
        fields.text(&row.image_id);
        fields.texts(&row.crops);
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
    fields.hex()
}

/// Rows and fingerprint of an images or crops file: texts, hashes of the pictures, sizes.
#[derive(Default)]
pub struct PicturesPrint {
    rows: usize,
    fields: Fields,
}

impl PicturesPrint {
    /// Takes in the next picture.
    pub fn add<'a>(&mut self, texts: impl IntoIterator<Item = &'a str>, sha256: &str, width: i32, height: i32) {
        self.rows += 1;
        texts.into_iter().for_each(|text| self.fields.text(text));
        self.fields.text(sha256);
        self.fields.text(&format!("{width}x{height}"));
    }

    /// Rows and fingerprint.
    pub fn finish(self) -> (usize, String) {
        (self.rows, self.fields.hex())
    }

    /// That of a file.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read(path: &Path) -> Result<(usize, String)> {
        let mut print = Self::default();
        for (texts, sha256, width, height) in read_picture_keys(path)? {
            print.add(texts.iter().map(String::as_str), &sha256, width, height);
        }
        Ok(print.finish())
    }
}

/// The fingerprint of a benchmark: over those of its task files in order, pictures left out, so that runs on the same
/// rows compare whether or not the pictures were at hand.
pub fn combined<'a>(fingerprints: impl Iterator<Item = &'a str>) -> String {
    let mut fields = Fields::default();
    fingerprints.for_each(|fingerprint| fields.text(fingerprint));
    fields.hex()
}
