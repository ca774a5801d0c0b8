//! The settings that a run's method reads.

use serde_json::{Map, Value};

use crate::error::Result;
use crate::methods::{MethodSpec, registry};
use crate::run::record::RunRecord;

/// Returns the settings that a run's method reads, except the seed, because versions of mkgc may differ in the defaults of
/// others, which the record holds as well. An external run has none. Of a method that the registry lacks, all settings count.
pub fn settings(record: &RunRecord) -> Result<Map<String, Value>> {
    let Some(trained) = record.trained() else { return Ok(Map::new()) };
    let reads = registry::find(&record.method).map(MethodSpec::reads).ok();
    let read = |key: &str| key != "train_seed" && reads.as_ref().is_none_or(|reads| reads.contains(&key));
    let config = serde_json::to_value(&trained.config)?;
    let known = config.as_object().into_iter().flatten().filter(|(key, _)| read(key));
    Ok(known.map(|(key, value)| (key.clone(), value.clone())).collect())
}
