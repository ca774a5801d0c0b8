//! Corpora: what is known of each ([`CorpusSpec`]), and their files as typed, validated rows ([`Corpus`]).
//!
//! A corpus is a file of this folder that returns its [`CorpusSpec`], and a line in [`CORPORA`]. How its text files
//! are laid out is in [`mod@format`]; several corpora may share a format. Nothing outside this folder asks which corpus it
//! has.

mod fewrel;
mod files;
pub mod format;
mod memory;
mod mnre;
mod read;
mod resplit;
mod spec;
mod table;
mod tacred;
mod twitter2015;
mod twitter2017;
mod types;
mod words;

use crate::error::hint;
pub(crate) use files::find_files;
pub use read::{Corpus, OnError, RecordCounts, Skipped, SourceFile, read};
pub use resplit::{Amount, RowLists, SplitRule};
pub use spec::{CorpusReference, CorpusSpec, CropFolders, CropKind, PictureFolders, SplitFiles};
pub use types::{Annotation, Extraction, Instance, Mention, Relation, Split};
pub use words::Words;

/// The corpora that a protocol can name.
pub const CORPORA: [fn() -> CorpusSpec; 5] =
    [mnre::spec, twitter2015::spec, twitter2017::spec, fewrel::spec, tacred::spec];

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
