//! Reads the files of a corpus.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::format::{RawFile, Records};
use super::spec::{CorpusSpec, SplitFiles};
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

/// The files of a corpus, parsed.
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
    /// What formats changed on the way and how often, as sentences that begin with the file.
    pub notes: Vec<String>,
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

    /// Returns the rows of one split, to be changed.
    pub fn split_mut(&mut self, split: Split) -> &mut Vec<Instance> {
        match split {
            Split::Train => &mut self.train,
            Split::Validation => &mut self.validation,
            Split::Test => &mut self.test,
        }
    }

    /// Returns whether no row names a picture.
    pub fn text_only(&self) -> bool {
        Split::ALL.into_iter().flat_map(|split| self.split(split)).all(|row| row.image.is_none())
    }
}

/// Reads the files of a corpus from the folder `dir`.
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
        notes: Vec::new(),
        sources: Vec::new(),
        skipped: Vec::new(),
    };
    let mut declared = Vec::new();
    for split in Split::ALL {
        let rows = read_split(&mut corpus, &mut declared, dir, split, on_error)?;
        *corpus.split_mut(split) = rows;
    }
    if corpus.classes.is_empty() {
        corpus.classes = classes_in_use(&corpus, &declared);
    }
    Ok(corpus)
}

/// Reads the files of a split and joins them; their sums and the records left out are added to `corpus`, and the classes
/// that the first file with such a list declares to `declared`.
fn read_split(
    corpus: &mut Corpus,
    declared: &mut Vec<String>,
    dir: &Path,
    split: Split,
    on_error: OnError,
) -> Result<Vec<Instance>> {
    let spec = corpus.spec.clone();
    let mut rows = Vec::new();
    let mut records = 0;
    for path in find_files(dir, split, &spec.files[split as usize])? {
        let bytes = fs_err::read(&path)?;
        let name = path.strip_prefix(dir).unwrap_or(&path).to_string_lossy().into_owned();
        corpus.sources.push(SourceFile { name: name.clone(), sha256: sha256_hex(&bytes), bytes: bytes.len() as u64 });
        let text = decompressed(&path, &bytes)?;
        let file = RawFile { path: &path, bytes: &text, classes: &corpus.classes, none: &spec.none };
        let parsed = spec.format.parse(&file)?;
        let first = records;
        records += parsed.records.len();
        if declared.is_empty() {
            *declared = parsed.classes;
        }
        corpus.notes.extend(parsed.notes.into_iter().map(|note| format!("{name}: {note}")));
        let intact = keep_intact(parsed.records, &name, on_error, &mut corpus.skipped)?;
        if intact.is_empty() {
            let reason = format!("holds no record; expected {split} rows of the corpus");
            return Err(Error::corpus(&path, 1, reason));
        }
        rows.extend(intact.into_iter().map(|row| Instance { row: row.row + first, ..row }));
    }
    Ok(rows)
}

/// Returns the content of a file, decompressed if its name ends in `.gz`.
fn decompressed<'a>(path: &Path, bytes: &'a [u8]) -> Result<Cow<'a, [u8]>> {
    if path.extension().is_none_or(|extension| extension != "gz") {
        return Ok(bytes.into());
    }
    let mut text = Vec::new();
    match MultiGzDecoder::new(bytes).read_to_end(&mut text) {
        Ok(_) => Ok(text.into()),
        Err(error) => Err(Error::dataset(path, format!("damaged gzip file: {error}; fetch or compress it again"))),
    }
}

/// Lists the classes that rows have: in the order that the files declare or, if they declare none, sorted by name.
fn classes_in_use(corpus: &Corpus, declared: &[String]) -> Vec<String> {
    let rows = Split::ALL.into_iter().flat_map(|split| corpus.split(split));
    let used: BTreeSet<&str> = rows.flat_map(|row| row.annotation.classes()).collect();
    let in_order = declared.iter().filter(|class| used.contains(class.as_str())).cloned();
    let rest = used.iter().filter(|class| !declared.iter().any(|known| known == *class));
    in_order.chain(rest.map(|class| (*class).to_owned())).collect()
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

/// Finds the files of a split.
fn find_files(dir: &Path, split: Split, files: &SplitFiles) -> Result<Vec<PathBuf>> {
    let paths = || files.names().iter().map(|name| dir.join(name));
    let names = files.names().join(", ");
    match files {
        SplitFiles::All(_) => match paths().find(|path| !path.is_file()) {
            Some(missing) => Err(Error::dataset(&missing, format!("no such file; the {split} rows are in {names}"))),
            None => Ok(paths().collect()),
        },
        SplitFiles::OneOf(_) => {
            let found: Vec<PathBuf> = paths().filter(|path| path.is_file()).collect();
            match found.as_slice() {
                [] => Err(Error::dataset(dir, format!("no {split} file; expected one of: {names}"))),
                [_] => Ok(found),
                [a, b, ..] => {
                    let reason = format!("two {split} files, {} and {}; keep one", a.display(), b.display());
                    Err(Error::dataset(dir, reason))
                }
            }
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
