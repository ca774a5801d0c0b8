//! Runs of one method that were trained with other settings, as entries of their own.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::load::{FinishedRun, Loaded};
use super::settings::settings;
use crate::error::Result;
use crate::run::record::EncoderRecord;

/// What distinguishes entries: for each setting its value, and a short form of it.
type Traits = BTreeMap<String, Trait>;

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Trait {
    short: String,
    whole: String,
}

impl From<String> for Trait {
    fn from(value: String) -> Self {
        Self { short: value.clone(), whole: value }
    }
}

/// Gives runs of one label that differ in encoders, settings or the memory budget variants that name what differs, so that
/// [`boards`](super::boards) makes entries of them instead of refusing them.
///
/// # Errors
/// Settings cannot be written as JSON, which does not happen in practice.
pub fn split(mut loaded: Loaded) -> Result<Loaded> {
    let runs = &mut loaded.runs;
    let mut by_label: BTreeMap<(String, String), Vec<usize>> = BTreeMap::new();
    for (index, run) in runs.iter().enumerate() {
        by_label.entry((run.record.dataset.name.clone(), run.record.label())).or_default().push(index);
    }
    for indices in by_label.into_values() {
        let same_label: Vec<&FinishedRun> = indices.iter().map(|index| &runs[*index]).collect();
        let all: Vec<Traits> = same_label.iter().map(|run| traits(run, &same_label)).collect::<Result<_>>()?;
        let values = |key: &str| all.iter().map(|traits| traits.get(key)).collect::<BTreeSet<_>>();
        let keys: BTreeSet<&String> = all.iter().flat_map(BTreeMap::keys).collect();
        let differing: Vec<&String> = keys.into_iter().filter(|key| values(key).len() > 1).collect();
        if differing.is_empty() {
            continue;
        }
        let several = |key: &str, short: &str| {
            let same = values(key).into_iter().flatten().filter(|other| other.short == short);
            same.count() > 1
        };
        for (index, traits) in indices.into_iter().zip(&all) {
            let value = |key: &&String| {
                let Trait { short, whole } = traits.get(*key)?;
                Some(format!("{key}={}", if several(key, short) { whole } else { short }))
            };
            let before = runs[index].record.variant.take();
            let parts = before.into_iter().chain(differing.iter().filter_map(value));
            runs[index].record.variant = Some(parts.collect::<Vec<_>>().join(", "));
        }
    }
    Ok(loaded)
}

/// Returns everything that runs of one entry share: encoders, all settings but the seed, and what a stream may store.
fn traits(run: &FinishedRun, same_label: &[&FinishedRun]) -> Result<Traits> {
    let record = &run.record;
    let mut traits = Traits::new();
    if record.stream().is_some() {
        traits.insert("memory".to_owned(), record.memory_budget.clone().into());
    }
    if let Some(trained) = record.trained() {
        let texts = same_label.iter().filter_map(|run| Some(&run.record.trained()?.encoder));
        traits.insert("encoder".to_owned(), encoder(&trained.encoder, texts));
        if let Some(vision) = &trained.vision {
            let visions = same_label.iter().filter_map(|run| Some(&run.record.vision()?.encoder));
            traits.insert("vision".to_owned(), encoder(&vision.encoder, visions));
        }
    }
    let text = |value: Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    traits.extend(settings(record)?.into_iter().map(|(key, value)| (key, text(value).into())));
    Ok(traits)
}

/// Names an encoder by the last part of its name. The whole is its name, the beginning of its hash and, of its further hashes,
/// those in which records of these weights differ: older records lack them, which makes no other encoder.
fn encoder<'a>(encoder: &EncoderRecord, all: impl Iterator<Item = &'a EncoderRecord>) -> Trait {
    let short = encoder.name.trim_end_matches('/').rsplit('/').next().unwrap_or_default().to_owned();
    let alike = all.filter(|other| other.name == encoder.name && other.identity == encoder.identity);
    let known: BTreeSet<_> = alike.flat_map(EncoderRecord::further).collect();
    let differs = |of: &str| known.iter().filter(|(other, _)| *other == of).count() > 1;
    let further = encoder.further().filter(|(of, _)| differs(of)).map(|(_, hash)| format!(" {hash:.8}"));
    let further: String = further.collect();
    Trait { whole: format!("{} {:.8}{further}", encoder.name, encoder.identity), short }
}
