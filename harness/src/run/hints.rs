//! What a folder whose `run.json` cannot be read still says of its run: so a damaged run stands on the board and beside the
//! method that it belongs to.

use std::path::Path;

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::RunFolder;

/// What is known of a run without its record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hints {
    /// Name of the benchmark that the run is of.
    pub benchmark: Option<String>,
    /// Name of the method and, in brackets, of the variant.
    pub label: Option<String>,
    /// Seed that the model was trained with.
    pub seed: Option<u64>,
}

/// Gathers what `result.json` says of the run and, failing that, the rest of `run.json`.
pub fn hints(folder: &RunFolder) -> Hints {
    let result: Option<Value> =
        fs_err::read(folder.result()).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let said = |key: &str| result.as_ref().and_then(|result| result.get(key));
    let bytes = fs_err::read(folder.dir().join("run.json")).unwrap_or_default();
    let record = String::from_utf8_lossy(&bytes);
    let dataset = record.split_once("\"dataset\"").map_or("", |(_, rest)| rest);
    let text = |key: &str| said(key).and_then(Value::as_str).map(str::to_owned);
    let method = text("method").or_else(|| value_of(&record, "method"));
    let variant: Option<String> = value_of(&record, "variant");
    let mark = variant.map_or_else(String::new, |variant| format!(" [{variant}]"));
    Hints {
        benchmark: text("benchmark").or_else(|| value_of(dataset, "name")),
        label: method.map(|method| format!("{method}{mark}")),
        seed: said("train_seed").and_then(Value::as_u64).or_else(|| value_of(&record, "train_seed")),
    }
}

/// Returns the value of the first key of this name in a JSON text that may end anywhere.
fn value_of<T: DeserializeOwned>(text: &str, key: &str) -> Option<T> {
    let (_, rest) = text.split_once(&format!("\"{key}\""))?;
    let value = rest.trim_start().strip_prefix(':')?;
    serde_json::Deserializer::from_str(value).into_iter().next()?.ok()
}

/// Returns the last part of a path, to name a run of which nothing else is known.
pub fn folder_name(path: &Path) -> String {
    path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_cut_record_says_what_stands_before_the_cut() {
        let place = tempfile::tempdir().unwrap();
        let folder = RunFolder::new(place.path());
        let record = r#"{"method": "lmc", "variant": "full", "dataset": {"name": "mnre-10", "fi"#;
        fs_err::write(place.path().join("run.json"), record).unwrap();
        let known = Hints { benchmark: Some("mnre-10".into()), label: Some("lmc [full]".into()), seed: None };
        assert_eq!(hints(&folder), known);
        fs_err::write(folder.result(), r#"{"method": "emr", "benchmark": "b", "train_seed": 3}"#).unwrap();
        fs_err::write(place.path().join("run.json"), "").unwrap();
        let known = Hints { benchmark: Some("b".into()), label: Some("emr".into()), seed: Some(3) };
        assert_eq!(hints(&folder), known);
        fs_err::write(folder.result(), "").unwrap();
        assert_eq!(hints(&folder), Hints::default());
    }
}
