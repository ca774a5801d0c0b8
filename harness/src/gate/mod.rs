//! `mkgc gate`: do runs still score what a baseline expects of them?

pub mod baseline;
pub mod junit;
pub mod observed;
pub mod show;
pub mod update;

use std::collections::BTreeMap;

use crate::metrics::continual::Value;
use baseline::{Baseline, Direction, Entry, Expectation};
use observed::{BySeed, Key, Observed};

/// What became of an expectation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Within tolerance.
    Pass,
    /// Better than tolerance: worth a look, and a new baseline if it is meant.
    Gain,
    /// Worse than tolerance, or not comparable.
    Fail,
}

/// One metric of one entry.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// Benchmark, method, kind of device.
    pub key: Key,
    /// Metric.
    pub metric: String,
    /// By the baseline.
    pub expected: f64,
    /// Mean over the baseline's seeds, where it is defined.
    pub observed: Option<f64>,
    /// Tolerance in units of the metric.
    pub allowed: f64,
    /// What became of it.
    pub verdict: Verdict,
    /// Why, unless it passed.
    pub reason: String,
}

/// The answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// In the order of the baseline.
    pub lines: Vec<Line>,
    /// Runs that no entry asks for.
    pub unknown: Vec<String>,
}

impl Outcome {
    /// Whether any expectation failed.
    pub fn failed(&self) -> bool {
        self.lines.iter().any(|line| line.verdict == Verdict::Fail)
    }
}

/// Compares runs with a baseline; with `strict_gain`, an unexpected gain fails.
pub fn check(baseline: &Baseline, observed: &BTreeMap<Key, BySeed>, strict_gain: bool) -> Outcome {
    let none = BySeed::new();
    let mut lines = Vec::new();
    for entry in &baseline.entries {
        let runs = observed.get(&entry.key()).unwrap_or(&none);
        let comparable = entry.comparable(runs);
        for (metric, expectation) in &entry.metrics {
            let (observed, outcome) = match &comparable {
                Ok(runs) => judged(metric, expectation, runs, strict_gain),
                Err(reason) => (None, Some((Verdict::Fail, reason.clone()))),
            };
            let (verdict, reason) = outcome.unwrap_or((Verdict::Pass, String::new()));
            let (expected, allowed) = (expectation.expected, expectation.allowed(entry.seeds.len()));
            let (key, metric) = (entry.key(), metric.clone());
            lines.push(Line { key, metric, expected, observed, allowed, verdict, reason });
        }
    }
    Outcome { lines, unknown: unknown(baseline, observed) }
}

fn unknown(baseline: &Baseline, observed: &BTreeMap<Key, BySeed>) -> Vec<String> {
    let asked =
        |key: &Key, seed: u64| baseline.entries.iter().any(|entry| entry.key() == *key && entry.seeds.contains(&seed));
    let runs = observed.iter().flat_map(|(key, runs)| runs.iter().map(move |(seed, run)| (key, *seed, run)));
    runs.filter(|(key, seed, _)| !asked(key, *seed)).map(|(_, _, run)| run.folder.display().to_string()).collect()
}

impl Entry {
    /// Benchmark, method, kind of device.
    pub fn key(&self) -> Key {
        (self.benchmark.clone(), self.method.clone(), self.device.clone())
    }

    /// The runs of the entry's seeds, if they are there and of the same data and encoders.
    fn comparable<'a>(&self, runs: &'a BySeed) -> Result<Vec<&'a Values>, String> {
        let run = |seed: &u64| {
            let run: &Observed = runs.get(seed).ok_or_else(|| format!("no run with seed {seed}"))?;
            let names = self.fingerprints.keys().chain(run.fingerprints.keys());
            for name in names {
                let (old, new) = (self.fingerprints.get(name), run.fingerprints.get(name));
                if old != new {
                    let text =
                        |print: Option<&String>| print.map_or_else(|| "none".to_owned(), |print| format!("`{print}`"));
                    let folder = run.folder.display();
                    return Err(format!(
                        "{folder}: the fingerprint `{name}` changed from {} to {}",
                        text(old),
                        text(new)
                    ));
                }
            }
            run.values.as_ref().map_err(Clone::clone)
        };
        self.seeds.iter().map(run).collect()
    }
}

type Values = BTreeMap<&'static str, Value>;

/// The mean, and the verdict where it is not a plain pass.
fn judged(
    metric: &str,
    expectation: &Expectation,
    runs: &[&Values],
    strict_gain: bool,
) -> (Option<f64>, Option<(Verdict, String)>) {
    let mut sum = 0.0;
    for values in runs {
        match values.get(metric) {
            Some(Value::Number(number)) if number.is_finite() => sum += number,
            Some(Value::Number(number)) => return (None, Some((Verdict::Fail, format!("it is {number}")))),
            Some(Value::Undefined(reason)) => return (None, Some((Verdict::Fail, reason.clone()))),
            None => return (None, Some((Verdict::Fail, "this mkgc does not know the metric".to_owned()))),
        }
    }
    let (mean, allowed) = (sum / runs.len() as f64, expectation.allowed(runs.len()));
    let gain = match expectation.direction {
        Direction::HigherIsBetter => mean - expectation.expected,
        Direction::LowerIsBetter => expectation.expected - mean,
    };
    // A tolerance of 0 means equal but for the last bits.
    let beyond = gain.abs() > allowed + 1e-12;
    let outcome = beyond.then(|| match (gain < 0.0, strict_gain) {
        (true, _) => (Verdict::Fail, format!("worse by {:.4}, {allowed:.4} allowed", -gain)),
        (false, strict) => {
            let reason = format!("better by {gain:.4}, {allowed:.4} expected at most; --update if it is meant");
            (if strict { Verdict::Fail } else { Verdict::Gain }, reason)
        }
    });
    (Some(mean), outcome)
}
