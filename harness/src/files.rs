//! JSON files, and the builder's atomic writes. A file is written to a temporary sibling and renamed, so that neither another process
//! nor a later run ever reads half of one.

use std::path::Path;

pub use mkgc_builder::files::write_atomically;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};

/// Reads a JSON file.
///
/// # Errors
/// A file that is missing or does not hold a `T`; the message names the path.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let text = fs_err::read_to_string(path)?;
    serde_json::from_str(&text).map_err(|error| Error::Usage(format!("{}: {error}", path.display())))
}

/// Writes a value as indented JSON, atomically.
///
/// # Errors
/// The folder cannot be written.
pub fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let mut text = serde_json::to_string_pretty(value)?;
    text.push('\n');
    Ok(write_atomically(path, text.as_bytes())?)
}
