//! Makes a baseline from runs and lists what changed in it.

use std::collections::BTreeMap;

use super::baseline::{Baseline, BaselineEntry, Expectation, SCHEMA_VERSION, Tolerance};
use super::join_fingerprints;
use super::key::GateKey;
use super::observed::{BySeed, METRICS, Observations, Unreadable};
use crate::error::{Error, Result};
use crate::metrics::value::Value;

/// Makes a baseline of exactly these runs, without metrics that are undefined for a benchmark. `tolerance` applies to every
/// expectation; if it is `None`, expectations keep the tolerance they have in `old`.
///
/// # Errors
/// A run is unfinished, damaged or of other data than those of the same method; a tolerance is missing.
pub fn update(old: Option<&Baseline>, observed: &Observations, tolerance: Option<Tolerance>) -> Result<Baseline> {
    if let Some(Unreadable { folder, cause, .. }) = observed.unreadable.first() {
        return Err(Error::Usage(format!("{}: {cause}", folder.display())));
    }
    let entries = observed.runs.iter().map(|(key, runs)| {
        let before = old.and_then(|old| old.entries.iter().find(|entry| entry.key() == *key));
        entry(key, runs, before, tolerance)
    });
    Ok(Baseline { schema_version: SCHEMA_VERSION, entries: entries.collect::<Result<_>>()? })
}

fn entry(
    key: &GateKey,
    runs: &BySeed,
    before: Option<&BaselineEntry>,
    tolerance: Option<Tolerance>,
) -> Result<BaselineEntry> {
    let GateKey { benchmark, method, device } = key.clone();
    let bad = |reason: &str| Error::Usage(format!("{benchmark} × {method}: {reason}"));
    let mut prints = runs.values().map(|run| &run.fingerprints);
    let mut fingerprints = prints.next().cloned().unwrap_or_default();
    let differ = |_| bad("its runs differ in data or encoder; make a baseline of one of each");
    prints.try_for_each(|other| join_fingerprints(&mut fingerprints, other).map_err(differ))?;
    let seen: Vec<_> =
        runs.values().map(|run| run.values.as_ref().map_err(|reason| bad(reason))).collect::<Result<_>>()?;
    let mut metrics = BTreeMap::new();
    for metric in METRICS {
        let finite = |value: &Value| value.number().filter(|number| number.is_finite());
        let numbers: Option<Vec<f64>> = seen.iter().map(|values| values.get(&metric).and_then(finite)).collect();
        let Some(numbers) = numbers else { continue };
        let kept = before.and_then(|entry| entry.metrics.get(metric.key())).map(|line| line.tolerance);
        let tolerance = tolerance.or(kept);
        let tolerance = tolerance.ok_or_else(|| bad("is new; give --tolerance or --standard-errors for it"))?;
        let (expected, std) = mean_std(&numbers);
        if std.is_none() && matches!(tolerance, Tolerance::StandardErrors(_)) {
            return Err(bad("has one seed; --standard-errors needs two at least"));
        }
        let expectation = Expectation { expected, std, direction: metric.direction(), tolerance };
        metrics.insert(metric.key().to_owned(), expectation);
    }
    Ok(BaselineEntry { benchmark, method, device, seeds: runs.keys().copied().collect(), fingerprints, metrics })
}

fn mean_std(numbers: &[f64]) -> (f64, Option<f64>) {
    let count = numbers.len() as f64;
    let mean = numbers.iter().sum::<f64>() / count;
    let squares: f64 = numbers.iter().map(|number| (number - mean).powi(2)).sum();
    (mean, (numbers.len() > 1).then(|| (squares / (count - 1.0)).sqrt()))
}

/// Returns one line per change, `old → new`.
pub fn diff(old: Option<&Baseline>, new: &Baseline) -> Vec<String> {
    let old = old.map(lines).unwrap_or_default();
    let new = lines(new);
    let names: std::collections::BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let text = |line: Option<&String>| line.map_or("-", String::as_str).to_owned();
    let change = |name: &String| format!("{name}: {} → {}", text(old.get(name)), text(new.get(name)));
    names.into_iter().filter(|name| old.get(*name) != new.get(*name)).map(change).collect()
}

fn lines(baseline: &Baseline) -> BTreeMap<String, String> {
    let mut lines = BTreeMap::new();
    for entry in &baseline.entries {
        let key = entry.key();
        lines.insert(format!("{key} × seeds"), format!("{:?}", entry.seeds));
        for (name, print) in &entry.fingerprints {
            lines.insert(format!("{key} × fingerprint {name}"), print.clone());
        }
        for (name, line) in &entry.metrics {
            let allowed = line.allowed(entry.seeds.len());
            lines.insert(format!("{key} × {name}"), format!("{:.4} ± {allowed:.4}", line.expected));
        }
    }
    lines
}
