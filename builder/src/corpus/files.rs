//! Finds and opens the files of a corpus.

use std::borrow::Cow;
use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;

use super::spec::SplitFiles;
use super::types::Split;
use crate::error::{Error, Result};
use crate::sources::Source;

/// Checks that there is a folder of corpus files.
pub fn check_folder(dir: &Path) -> Result<()> {
    let reason = match (dir.exists(), dir.is_dir()) {
        (_, true) => return Ok(()),
        (true, false) => "is a file; give --raw the folder that holds the corpus files",
        (false, false) => "no train file, because there is no such folder; give --raw that of the corpus files",
    };
    Err(Error::dataset(dir, reason))
}

/// Finds the files of a split.
pub fn find_files(dir: &Path, split: Split, files: &SplitFiles, source: Option<&Source>) -> Result<Vec<PathBuf>> {
    let paths = || files.names().iter().map(|name| dir.join(name));
    let names = files.names().join(", ");
    match files {
        SplitFiles::All(_) => match paths().find(|path| !path.is_file()) {
            Some(missing) => {
                let what = if missing.is_dir() { "is a folder; name the files in it" } else { "no such file" };
                let pattern = missing.to_string_lossy().contains(['*', '?']);
                let pattern = if pattern { " (patterns are not expanded: list the files)" } else { "" };
                Err(Error::dataset(&missing, format!("{what}{pattern}; the {split} rows are in {names}")))
            }
            None => Ok(paths().collect()),
        },
        SplitFiles::OneOf(_) => {
            let found: Vec<PathBuf> = paths().filter(|path| path.is_file()).collect();
            match found.as_slice() {
                [] => {
                    let other = other_version(dir, source);
                    Err(Error::dataset(dir, format!("no {split} file; expected one of: {names}{other}")))
                }
                [_] => Ok(found),
                [a, b, ..] => {
                    let reason = format!("two {split} files, {} and {}; keep one", a.display(), b.display());
                    Err(Error::dataset(dir, reason))
                }
            }
        }
    }
}

/// Says that a folder holds files of another version of the corpus, if it does.
fn other_version(dir: &Path, source: Option<&Source>) -> String {
    let others = source.map_or(&[][..], |source| &source.others);
    let found = |name: &&String| dir.join(name).is_file();
    let named = others.iter().find_map(|other| Some((other, other.names.iter().find(found)?)));
    named.map_or_else(String::new, |(other, name)| format!("; {name} is of {}: {}", other.title, other.remedy))
}

/// Most bytes that a compressed file may hold for each of its own. Text of corpora has about ten, gzip could reach 1,032.
const MAX_RATIO: u64 = 100;

/// Bytes that a compressed file may hold however small it is.
const ALWAYS: u64 = 16 << 20;

/// Returns the content of a file, decompressed if its name ends in `.gz`.
///
/// # Errors
/// The file is cut off or damaged, or holds far more than text of its size: a few kilobytes could fill the memory.
pub fn decompressed<'a>(path: &Path, bytes: &'a [u8]) -> Result<Cow<'a, [u8]>> {
    if path.extension().is_none_or(|extension| extension != "gz") {
        return Ok(bytes.into());
    }
    let most = ALWAYS.max(MAX_RATIO.saturating_mul(bytes.len() as u64));
    let mut text = Vec::new();
    match MultiGzDecoder::new(bytes).take(most + 1).read_to_end(&mut text) {
        Ok(length) if length as u64 > most => {
            let reason = format!("unpacks to more than {most} bytes; if that is right, name the unpacked file instead");
            Err(Error::dataset(path, reason))
        }
        Ok(_) => Ok(text.into()),
        Err(_) => Err(Error::dataset(path, "is not a whole gzip file; fetch or compress it again")),
    }
}
