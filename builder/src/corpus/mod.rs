//! Parsers of the raw corpora: files as published to typed, validated [`Instance`]s; errors carry file and line.

mod lines;
mod mnre;
mod pyliteral;
mod twitter2017;
mod types;

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
pub use mnre::line as mnre_line;
pub use twitter2017::record as twitter2017_record;
pub use types::*;

/// What to do with a damaged record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnError {
    /// Stop with file and line.
    Fail,
    /// Leave it out, list it in [`Corpus::skipped`].
    Skip,
}

/// What a parser yields: each record with the line it starts at, or the error that spoils it.
type Records = Vec<Result<Instance>>;

/// Reads the three files of a corpus from `dir`.
///
/// # Errors
/// A missing, empty or (under [`OnError::Fail`]) damaged file; each message names file and line.
pub fn read(kind: CorpusKind, dir: &Path, on_error: OnError) -> Result<Corpus> {
    let names: [&[&str]; 3] = match kind {
        CorpusKind::Mnre => mnre::FILES,
        CorpusKind::Twitter2017 => twitter2017::FILES,
    };
    let classes = match kind {
        CorpusKind::Mnre => mnre::classes(dir)?,
        CorpusKind::Twitter2017 => twitter2017::TYPES.map(str::to_owned).to_vec(),
    };
    let (mut sources, mut skipped) = (Vec::new(), Vec::new());
    let mut splits = Vec::with_capacity(3);
    for (split, names) in Split::ALL.into_iter().zip(names) {
        let path = find(dir, split, names)?;
        let bytes = fs_err::read(&path)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let records = match kind {
            CorpusKind::Mnre => mnre::parse(&path, &bytes, &classes),
            CorpusKind::Twitter2017 => twitter2017::parse(&path, &bytes),
        };
        splits.push(kept(records, &name, on_error, &mut skipped)?);
        if splits.last().is_some_and(Vec::is_empty) {
            return Err(Error::corpus(&path, 1, format!("holds no record; expected the {split} rows of the corpus")));
        }
        sources.push(SourceFile { name, sha256: sha256_hex(&bytes), bytes: bytes.len() as u64 });
    }
    let [train, validation, test] = splits.try_into().unwrap_or_default();
    Ok(Corpus { kind, classes, train, validation, test, sources, skipped })
}

/// Lower-case hexadecimal SHA-256.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// SHA-256 and size of a file, read piece by piece.
///
/// # Errors
/// When it cannot be read.
pub fn sha256_file(path: &Path) -> Result<(String, u64)> {
    let mut digest = Sha256::new();
    let bytes = std::io::copy(&mut fs_err::File::open(path)?, &mut digest)?;
    Ok((hex(&digest.finalize()), bytes))
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The one file of a split among the published names.
fn find(dir: &Path, split: Split, names: &[&str]) -> Result<PathBuf> {
    let found: Vec<PathBuf> = names.iter().map(|name| dir.join(name)).filter(|path| path.is_file()).collect();
    match found.as_slice() {
        [path] => Ok(path.clone()),
        [] => Err(Error::dataset(dir, format!("no {split} file; expected one of: {}", names.join(", ")))),
        [a, b, ..] => {
            Err(Error::dataset(dir, format!("two {split} files, {} and {}; keep one", a.display(), b.display())))
        }
    }
}

fn kept(records: Records, file: &str, on_error: OnError, skipped: &mut Vec<Skipped>) -> Result<Vec<Instance>> {
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
