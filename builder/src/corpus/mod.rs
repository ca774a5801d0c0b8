//! Corpora: what is known of each ([`CorpusSpec`]), and their files as typed, validated rows ([`Corpus`]).
//!
//! A corpus is a file of this folder that returns its [`CorpusSpec`], and a line in [`CORPORA`]. How its text files
//! are laid out is in [`mod@format`]; several corpora may share a format. Nothing outside this folder asks which corpus it
//! has.

pub mod format;
mod mnre;
mod read;
mod spec;
mod twitter2017;
mod types;

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::error::hint;
pub use read::{Corpus, OnError, Skipped, SourceFile, read};
pub use spec::{CorpusReference, CorpusSpec, CropFolders, CropKind, PictureFolders, SplitFiles};
pub use types::{Annotation, Extraction, Instance, Mention, Split};

/// The corpora that a protocol can name.
pub const CORPORA: [fn() -> CorpusSpec; 2] = [mnre::spec, twitter2017::spec];

/// Finds a corpus by its name in protocols.
///
/// # Errors
/// There is no corpus of this name; the message lists the names.
pub fn find(name: &str) -> Result<CorpusSpec, String> {
    let specs = CORPORA.map(|spec| spec());
    let names: Vec<&str> = specs.iter().map(|spec| spec.name.as_str()).collect();
    let unknown =
        || format!("unknown corpus `{name}`{}; known: {}", hint(name, names.iter().copied()), names.join(", "));
    specs.iter().find(|spec| spec.name == name).cloned().ok_or_else(unknown)
}

/// Describes the names of [`CORPORA`] in JSON Schemas of files that store one.
pub(crate) enum CorpusName {}

impl JsonSchema for CorpusName {
    fn schema_name() -> Cow<'static, str> {
        "CorpusKind".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let choices = CORPORA.map(|spec| {
            let spec = spec();
            serde_json::json!({"description": spec.about, "type": "string", "const": spec.name})
        });
        json_schema!({"description": "Which supported corpus a file set belongs to.", "oneOf": choices})
    }
}
