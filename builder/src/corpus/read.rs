//! Reads the three files of a corpus.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::format::{RawFile, Records};
use super::spec::CorpusSpec;
use super::types::{Instance, Split};
use crate::error::{Error, Result};
use crate::files::sha256_hex;

/// What to do with a damaged record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnError {
    /// Stop with file and line.
    Fail,
    /// Leave the record out and list it in [`Corpus::skipped`].
    Skip,
}

/// A corpus file that was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SourceFile {
    /// File name without folder.
    pub name: String,
    /// Lower-case hexadecimal SHA-256 of its bytes.
    pub sha256: String,
    /// Size in bytes.
    pub bytes: u64,
}

/// A record left out under [`OnError::Skip`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// Name of the corpus file, without folder.
    pub file: String,
    /// Number of the line at fault, from 1.
    pub line: usize,
    /// The message that [`OnError::Fail`] would have stopped with.
    pub reason: String,
}

/// The three files of a corpus, parsed.
#[derive(Debug, Clone)]
pub struct Corpus {
    /// What is known of the corpus.
    pub spec: CorpusSpec,
    /// Every class that rows may have, in the order of the corpus's label ids.
    pub classes: Vec<String>,
    /// Training rows in file order.
    pub train: Vec<Instance>,
    /// Validation rows in file order.
    pub validation: Vec<Instance>,
    /// Test rows in file order.
    pub test: Vec<Instance>,
    /// The files read, in the order of [`Split::ALL`].
    pub sources: Vec<SourceFile>,
    /// Records left out, in file order.
    pub skipped: Vec<Skipped>,
}

impl Corpus {
    /// Returns the rows of one split.
    pub fn split(&self, split: Split) -> &[Instance] {
        match split {
            Split::Train => &self.train,
            Split::Validation => &self.validation,
            Split::Test => &self.test,
        }
    }
}

/// Reads the three files of a corpus from the folder `dir`.
///
/// # Errors
/// A file is missing, empty or, under [`OnError::Fail`], damaged. Messages name the file and the line.
pub fn read(spec: &CorpusSpec, dir: &Path, on_error: OnError) -> Result<Corpus> {
    let mut corpus = Corpus {
        spec: spec.clone(),
        classes: classes(spec, dir)?,
        train: Vec::new(),
        validation: Vec::new(),
        test: Vec::new(),
        sources: Vec::new(),
        skipped: Vec::new(),
    };
    corpus.train = read_split(&mut corpus, dir, Split::Train, on_error)?;
    corpus.validation = read_split(&mut corpus, dir, Split::Validation, on_error)?;
    corpus.test = read_split(&mut corpus, dir, Split::Test, on_error)?;
    Ok(corpus)
}

/// Reads the file of a split; its sum and the records left out are added to `corpus`.
fn read_split(corpus: &mut Corpus, dir: &Path, split: Split, on_error: OnError) -> Result<Vec<Instance>> {
    let spec = &corpus.spec;
    let path = find_file(dir, split, &spec.files[split as usize])?;
    let bytes = fs_err::read(&path)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let file = RawFile { path: &path, bytes: &bytes, classes: &corpus.classes, none: &spec.none };
    let rows = keep_intact((spec.parse)(&file), &name, on_error, &mut corpus.skipped)?;
    if rows.is_empty() {
        return Err(Error::corpus(&path, 1, format!("holds no record; expected the {split} rows of the corpus")));
    }
    corpus.sources.push(SourceFile { name, sha256: sha256_hex(&bytes), bytes: bytes.len() as u64 });
    Ok(rows)
}

/// Returns the classes of a corpus in the order of their ids: from the file of ids in `dir`, or as published if there is none.
fn classes(spec: &CorpusSpec, dir: &Path) -> Result<Vec<String>> {
    let Some(path) = spec.class_ids.as_ref().map(|name| dir.join(name)).filter(|path| path.is_file()) else {
        return Ok(spec.classes.clone());
    };
    let ids: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(&fs_err::read(&path)?)
        .map_err(|error| Error::corpus(&path, error.line(), format!("not a JSON object of class ids: {error}")))?;
    let mut classes: Vec<(u64, String)> = Vec::with_capacity(ids.len());
    for (name, id) in ids {
        let id = id.as_u64().ok_or_else(|| Error::corpus(&path, 1, format!("id of `{name}` is not a whole number")))?;
        classes.push((id, name));
    }
    classes.sort();
    Ok(classes.into_iter().map(|(_, name)| name).filter(|name| *name != spec.none).collect())
}

/// Finds the one file of a split among the accepted names.
fn find_file(dir: &Path, split: Split, names: &[String]) -> Result<PathBuf> {
    let found: Vec<PathBuf> = names.iter().map(|name| dir.join(name)).filter(|path| path.is_file()).collect();
    match found.as_slice() {
        [path] => Ok(path.clone()),
        [] => Err(Error::dataset(dir, format!("no {split} file; expected one of: {}", names.join(", ")))),
        [a, b, ..] => {
            Err(Error::dataset(dir, format!("two {split} files, {} and {}; keep one", a.display(), b.display())))
        }
    }
}

/// Returns the intact records of a file; under [`OnError::Skip`], damaged ones are added to `skipped`.
fn keep_intact(records: Records, file: &str, on_error: OnError, skipped: &mut Vec<Skipped>) -> Result<Vec<Instance>> {
    let mut instances = Vec::with_capacity(records.len());
    for record in records {
        match record {
            Ok(instance) => instances.push(instance),
            Err(Error::Corpus { line, reason, .. }) if on_error == OnError::Skip => {
                skipped.push(Skipped { file: file.to_owned(), line, reason });
            }
            Err(error) => return Err(error),
        }
    }
    Ok(instances)
}
