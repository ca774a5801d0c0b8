//! JSON files, and the builder's atomic writes. A file is written to a temporary sibling and renamed, so that neither another process
//! nor a later run ever reads half of one.

use std::path::Path;

pub use mkgc_builder::files::write_atomically;
use mkgc_builder::plain;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};

/// Reads a JSON file.
///
/// # Errors
/// A file that is missing or does not hold a `T`; the message names the path, the line and the key.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let bytes = fs_err::read(path)?;
    plain::json(&bytes).map_err(|misread| Error::Usage(format!("{}: {misread}", path.display())))
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
