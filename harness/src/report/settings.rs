//! The settings that a run's method reads.

use serde_json::{Map, Value};

use crate::error::Result;
use crate::methods::{MethodSpec, registry};
use crate::run::record::RunRecord;

/// Returns the settings that a run's method reads, except the seed; an external run has none. A record holds all settings,
/// and versions of mkgc may differ in the defaults of those that the method does not read. Of a method that is not in the
/// registry all settings count.
pub fn settings(record: &RunRecord) -> Result<Map<String, Value>> {
    let Some(trained) = record.trained() else { return Ok(Map::new()) };
    let reads = registry::find(&record.method).map(MethodSpec::reads).ok();
    let read = |key: &str| key != "train_seed" && reads.as_ref().is_none_or(|reads| reads.contains(&key));
    let config = serde_json::to_value(&trained.config)?;
    let known = config.as_object().into_iter().flatten().filter(|(key, _)| read(key));
    Ok(known.map(|(key, value)| (key.clone(), value.clone())).collect())
}
