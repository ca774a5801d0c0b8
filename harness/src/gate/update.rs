//! A baseline from runs, and what changed in it.

use std::collections::BTreeMap;

use super::baseline::{Baseline, Entry, Expectation, SCHEMA_VERSION, Tolerance};
use super::observed::{BySeed, Key, METRICS};
use crate::error::{Error, Result};
use crate::metrics::continual::Value;

/// A baseline of exactly these runs. Metrics that are undefined for a benchmark are left out. A tolerance that is given
/// holds for every line; else lines keep the one they had.
pub fn update(
    old: Option<&Baseline>,
    observed: &BTreeMap<Key, BySeed>,
    tolerance: Option<Tolerance>,
) -> Result<Baseline> {
    let entries = observed.iter().map(|(key, runs)| {
        let before = old.and_then(|old| old.entries.iter().find(|entry| entry.key() == *key));
        entry(key, runs, before, tolerance)
    });
    Ok(Baseline { schema_version: SCHEMA_VERSION, entries: entries.collect::<Result<_>>()? })
}

fn entry(key: &Key, runs: &BySeed, before: Option<&Entry>, tolerance: Option<Tolerance>) -> Result<Entry> {
    let (benchmark, method, device) = key.clone();
    let bad = |reason: &str| Error::Usage(format!("{benchmark} × {method}: {reason}"));
    let mut prints = runs.values().map(|run| &run.fingerprints);
    let fingerprints = prints.next().cloned().unwrap_or_default();
    if prints.any(|other| *other != fingerprints) {
        return Err(bad("its runs differ in data or encoder; make a baseline of one of each"));
    }
    let seen: Vec<_> =
        runs.values().map(|run| run.values.as_ref().map_err(|reason| bad(reason))).collect::<Result<_>>()?;
    let mut metrics = BTreeMap::new();
    for (name, direction) in METRICS {
        let numbers: Option<Vec<f64>> =
            seen.iter().map(|values| values.get(name).and_then(Value::number).filter(|x| x.is_finite())).collect();
        let Some(numbers) = numbers else { continue };
        let kept = before.and_then(|entry| entry.metrics.get(name)).map(|line| line.tolerance);
        let tolerance = tolerance.or(kept);
        let tolerance = tolerance.ok_or_else(|| bad("is new; give --tolerance or --standard-errors for it"))?;
        let (expected, std) = mean_std(&numbers);
        if std.is_none() && matches!(tolerance, Tolerance::StandardErrors(_)) {
            return Err(bad("has one seed; --standard-errors needs two at least"));
        }
        metrics.insert(name.to_owned(), Expectation { expected, std, direction, tolerance });
    }
    Ok(Entry { benchmark, method, device, seeds: runs.keys().copied().collect(), fingerprints, metrics })
}

fn mean_std(numbers: &[f64]) -> (f64, Option<f64>) {
    let count = numbers.len() as f64;
    let mean = numbers.iter().sum::<f64>() / count;
    let squares: f64 = numbers.iter().map(|number| (number - mean).powi(2)).sum();
    (mean, (numbers.len() > 1).then(|| (squares / (count - 1.0)).sqrt()))
}

/// One line per change, old → new.
pub fn diff(old: Option<&Baseline>, new: &Baseline) -> Vec<String> {
    let (old, new) = (old.map(lines).unwrap_or_default(), lines(new));
    let names: std::collections::BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let text = |line: Option<&String>| line.map_or("-", String::as_str).to_owned();
    let change = |name: &String| format!("{name}: {} → {}", text(old.get(name)), text(new.get(name)));
    names.into_iter().filter(|name| old.get(*name) != new.get(*name)).map(change).collect()
}

fn lines(baseline: &Baseline) -> BTreeMap<String, String> {
    let mut lines = BTreeMap::new();
    for entry in &baseline.entries {
        let place = format!("{} × {} × {}", entry.benchmark, entry.method, entry.device);
        lines.insert(format!("{place} × seeds"), format!("{:?}", entry.seeds));
        for (name, print) in &entry.fingerprints {
            lines.insert(format!("{place} × fingerprint {name}"), print.clone());
        }
        for (name, line) in &entry.metrics {
            let allowed = line.allowed(entry.seeds.len());
            lines.insert(format!("{place} × {name}"), format!("{:.4} ± {allowed:.4}", line.expected));
        }
    }
    lines
}
