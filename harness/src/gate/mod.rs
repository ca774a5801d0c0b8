//! `mkgc gate`: checks that runs still score what a baseline expects of them.

pub mod baseline;
pub mod junit;
pub mod key;
pub mod observed;
pub mod show;
pub mod update;

use std::collections::BTreeMap;

use crate::metrics::metric::Direction;
use crate::metrics::value::Value;
use baseline::{Baseline, BaselineEntry, Expectation};
use key::GateKey;
use observed::{BySeed, Observations, ObservedScores, Unreadable, Values};

/// Whether an expectation is met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The runs score what is expected, within tolerance.
    Pass,
    /// The runs are better than expected: worth a look, and a new baseline if the gain is intended.
    Gain,
    /// The runs are worse than expected or cannot be compared.
    Fail,
}

/// Stands for the metric in the line of a run that cannot be read.
pub const NO_METRIC: &str = "run";

/// The verdict on one metric of one entry, or on a run that cannot be read.
#[derive(Debug, Clone, PartialEq)]
pub struct OutcomeLine {
    /// The entry's benchmark, method and kind of device.
    pub key: GateKey,
    /// The key of the metric, which an old or a newer mkgc may have written; [`NO_METRIC`] of a run that cannot be read.
    pub metric: String,
    /// The mean that the baseline expects; no number of a run that cannot be read.
    pub expected: f64,
    /// The mean over the baseline's seeds, if it is defined.
    pub observed: Option<f64>,
    /// The tolerance in units of the metric; no number of a run that cannot be read.
    pub allowed: f64,
    /// Whether the expectation is met.
    pub verdict: Verdict,
    /// The reason for any verdict but a pass.
    pub reason: String,
}

/// The verdicts on all expectations of a baseline.
#[derive(Debug, Clone, PartialEq)]
pub struct GateOutcome {
    /// One line per metric, in the order of the baseline, then one per run that cannot be read.
    pub lines: Vec<OutcomeLine>,
    /// Folders of runs that no entry asks for.
    pub unknown: Vec<String>,
}

impl GateOutcome {
    /// Tells whether any expectation failed.
    pub fn failed(&self) -> bool {
        self.lines.iter().any(|line| line.verdict == Verdict::Fail)
    }
}

/// Compares runs with a baseline. With `strict_gain`, an unexpected gain fails as well. So does a run whose record cannot be
/// read, because it may be one that the baseline asks for.
pub fn check(baseline: &Baseline, observed: &Observations, strict_gain: bool) -> GateOutcome {
    let none = BySeed::new();
    let mut lines = Vec::new();
    for entry in &baseline.entries {
        let runs = observed.runs.get(&entry.key()).unwrap_or(&none);
        let comparable = entry.comparable(runs);
        for (metric, expectation) in &entry.metrics {
            let (observed, outcome) = match &comparable {
                Ok(runs) => judged(metric, expectation, runs, strict_gain),
                Err(reason) => (None, Some((Verdict::Fail, reason.clone()))),
            };
            let (verdict, reason) = outcome.unwrap_or((Verdict::Pass, String::new()));
            lines.push(OutcomeLine {
                key: entry.key(),
                metric: metric.clone(),
                expected: expectation.expected,
                observed,
                allowed: expectation.allowed(entry.seeds.len()),
                verdict,
                reason,
            });
        }
    }
    lines.extend(observed.unreadable.iter().map(unreadable));
    GateOutcome { lines, unknown: unknown(baseline, &observed.runs) }
}

/// Makes the line of a run whose record cannot be read.
fn unreadable(run: &Unreadable) -> OutcomeLine {
    OutcomeLine {
        key: run.key.clone(),
        metric: NO_METRIC.to_owned(),
        expected: f64::NAN,
        observed: None,
        allowed: f64::NAN,
        verdict: Verdict::Fail,
        reason: format!("{}: {}", run.folder.display(), run.cause),
    }
}

/// Lists the folders of runs that no entry asks for.
fn unknown(baseline: &Baseline, observed: &BTreeMap<GateKey, BySeed>) -> Vec<String> {
    let asked = |key: &GateKey, seed: u64| {
        baseline.entries.iter().any(|entry| entry.key() == *key && entry.seeds.contains(&seed))
    };
    let runs = observed.iter().flat_map(|(key, runs)| runs.iter().map(move |(seed, run)| (key, *seed, run)));
    runs.filter(|(key, seed, _)| !asked(key, *seed)).map(|(_, _, run)| run.folder.display().to_string()).collect()
}

/// Fingerprints that are compared only where both sides have them, because older runs and baselines do not know them.
const LATER_FINGERPRINTS: [&str; 3] = ["encoder_config", "encoder_tokenizer", "vision_config"];

/// Hashes by the name of what they are of.
type Fingerprints = BTreeMap<String, String>;

/// Adds the fingerprints of a run to those known before it.
///
/// # Errors
/// The name of a fingerprint in which both differ.
fn join_fingerprints(known: &mut Fingerprints, run: &Fingerprints) -> Result<(), String> {
    let mut names = known.keys().chain(run.keys());
    let differs = |name: &&String| {
        let (old, new) = (known.get(*name), run.get(*name));
        let unknown = LATER_FINGERPRINTS.contains(&name.as_str()) && (old.is_none() || new.is_none());
        old != new && !unknown
    };
    if let Some(name) = names.find(differs) {
        return Err(name.clone());
    }
    known.extend(run.clone());
    Ok(())
}

impl BaselineEntry {
    /// Returns the metrics of the entry's seeds, or why its runs are missing or of other data or encoders.
    fn comparable<'a>(&self, runs: &'a BySeed) -> Result<Vec<&'a Values>, String> {
        let mut known = self.fingerprints.clone();
        let run = |seed: &u64| {
            let run: &ObservedScores = runs.get(seed).ok_or_else(|| format!("no run with seed {seed}"))?;
            if let Err(name) = join_fingerprints(&mut known, &run.fingerprints) {
                let text = |prints: &Fingerprints| {
                    prints.get(&name).map_or_else(|| "none".to_owned(), |print| format!("`{print}`"))
                };
                let (old, new) = (text(&known), text(&run.fingerprints));
                let folder = run.folder.display();
                return Err(format!("{folder}: the fingerprint `{name}` changed from {old} to {new}"));
            }
            run.values.as_ref().map_err(Clone::clone)
        };
        self.seeds.iter().map(run).collect()
    }
}

/// Returns the mean, and the verdict and its reason unless the expectation is met.
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
    let mean = sum / runs.len() as f64;
    let allowed = expectation.allowed(runs.len());
    let gain = match expectation.direction {
        Direction::HigherIsBetter => mean - expectation.expected,
        Direction::LowerIsBetter => expectation.expected - mean,
    };
    // A tolerance of 0 means equal except for rounding.
    let beyond = gain.abs() > allowed + 1e-12;
    let outcome = beyond.then(|| match (gain < 0.0, strict_gain) {
        (true, _) => (Verdict::Fail, format!("worse by {:.4}, {allowed:.4} allowed", -gain)),
        (false, strict) => {
            let reason = format!("better by {gain:.4}, at most {allowed:.4} expected; use --update if it is intended");
            (if strict { Verdict::Fail } else { Verdict::Gain }, reason)
        }
    });
    (Some(mean), outcome)
}
