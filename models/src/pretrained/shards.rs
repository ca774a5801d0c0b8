//! Weights in several safetensors files: `model.safetensors.index.json` says which file holds which tensor.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use crate::error::{Error, Result};

/// Name of the file that says which weights file holds which tensor.
pub(super) const INDEX: &str = "model.safetensors.index.json";

/// Returns the names of the files that an index names, sorted.
///
/// # Errors
/// The index cannot be read, names no file, or names one outside its folder.
pub(super) fn shards(index: &Path) -> Result<Vec<String>> {
    let bad = |reason: String| Error::encoder(index, reason);
    let value: Value =
        serde_json::from_slice(&fs_err::read(index)?).map_err(|error| bad(format!("not JSON: {error}")))?;
    let map = value.get("weight_map").and_then(Value::as_object);
    let map = map.ok_or_else(|| bad("has no weight_map, which says in which file each tensor is".to_owned()))?;
    let names: BTreeSet<&str> = map.values().filter_map(Value::as_str).collect();
    if names.is_empty() {
        return Err(bad("its weight_map names no file".to_owned()));
    }
    match names.iter().find(|name| name.contains(['/', '\\', ':']) || name.starts_with('.')) {
        Some(name) => Err(bad(format!("names a file outside its folder, `{name}`"))),
        None => Ok(names.into_iter().map(str::to_owned).collect()),
    }
}
