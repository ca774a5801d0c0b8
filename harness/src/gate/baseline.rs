//! A baseline: what runs are expected to score, as JSON.
//!
//! ```json
//! {
//!   "schema_version": 1,
//!   "entries": [{
//!     "benchmark": "mnre-10", "method": "emr", "device": "cpu",
//!     "seeds": [1, 2, 3],
//!     "fingerprints": {"data": "c960…", "encoder": "53aa…"},
//!     "metrics": {
//!       "last_micro_f1": {
//!         "expected": 0.41, "std": 0.012,
//!         "direction": "higher_is_better", "tolerance": {"standard_errors": 3.0}
//!       }
//!     }
//!   }]
//! }
//! ```
//!
//! `expected` is the mean over the seeds and `std` their sample standard deviation, given from two seeds on. Scores are
//! shares, from 0 to 1.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::key::GateKey;
use crate::error::{Error, Result};
use crate::files::{read_json, write_json};
use crate::metrics::Metric;
use crate::metrics::metric::Direction;

/// The version of the file format.
pub const SCHEMA_VERSION: u32 = 1;

/// The contents of a baseline file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Baseline {
    /// The version of the file format, [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// Entries in the order of benchmarks, methods and devices.
    pub entries: Vec<BaselineEntry>,
}

/// What the runs of a method on a benchmark and a kind of device are expected to score.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BaselineEntry {
    /// Name of the benchmark, which is that of its protocol, e.g. `mnre-10`.
    pub benchmark: String,
    /// The label of the runs, [`crate::run::record::RunRecord::label`].
    pub method: String,
    /// The kind of device, `cpu` or `cuda`; `external` if it is not known.
    pub device: String,
    /// Training seeds. A run of each is required.
    pub seeds: Vec<u64>,
    /// Hashes of the benchmark's rows (`data`), of the weights of the text encoder (`encoder`) and of the vision encoder
    /// (`vision`), and of their configuration and tokenizer (`encoder_config`, `encoder_tokenizer`, `vision_config`), which
    /// older baselines do not have.
    pub fingerprints: BTreeMap<String, String>,
    /// Expectations by the key of the metric.
    pub metrics: BTreeMap<String, Expectation>,
}

/// What a metric is expected to be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expectation {
    /// The mean over the seeds.
    pub expected: f64,
    /// The sample standard deviation over the seeds.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub std: Option<f64>,
    /// Whether a higher or a lower mean is better.
    pub direction: Direction,
    /// How far a mean may lie from `expected`.
    pub tolerance: Tolerance,
}

/// How far a mean may lie from the expected one.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tolerance {
    /// A distance in units of the metric.
    Absolute(f64),
    /// A number of standard errors of the difference of two means over independent runs, `std * sqrt(2 / seeds)`.
    StandardErrors(f64),
}

/// What to do about a baseline that a hand has damaged.
const REMAKE: &str = "make the baseline again with `mkgc gate --update`";

impl Expectation {
    /// Returns whether a fall of this metric shows that a method has become worse. A score of 0 cannot fall, and a method that
    /// learns nothing forgets nothing, so neither such a score nor forgetting or backward transfer does.
    fn is_score(&self, metric: &str) -> bool {
        self.direction == Direction::HigherIsBetter && self.expected > 0.0 && !metric.starts_with("bwt")
    }

    /// Returns whether the worst value that there is would pass: 0 for scores, -1 for backward transfer, 1 for forgetting.
    fn worst_passes(&self, metric: &str, seeds: usize) -> bool {
        let allowed = self.allowed(seeds);
        let least = if metric.starts_with("bwt") { -1.0 } else { 0.0 };
        match self.direction {
            Direction::HigherIsBetter => self.expected - allowed <= least,
            Direction::LowerIsBetter => self.expected + allowed >= 1.0,
        }
    }

    /// Returns the tolerance in units of the metric.
    pub fn allowed(&self, seeds: usize) -> f64 {
        match self.tolerance {
            Tolerance::Absolute(allowed) => allowed,
            Tolerance::StandardErrors(k) => k * self.std.unwrap_or(f64::NAN) * (2.0 / seeds as f64).sqrt(),
        }
    }
}

impl Baseline {
    /// Reads and checks a baseline file.
    pub fn read(path: &Path) -> Result<Self> {
        let bad = |reason: String| Error::Usage(format!("{}: {reason}", path.display()));
        if !path.exists() {
            return Err(bad("there is no such file; make it with `mkgc gate --update`".to_owned()));
        }
        let version: Version = read_json(path)?;
        if version.schema_version != SCHEMA_VERSION {
            let found = version.schema_version;
            return Err(bad(format!("schema_version is {found}, this mkgc reads {SCHEMA_VERSION}")));
        }
        let baseline: Self = read_json(path)?;
        baseline.check().map_err(bad)?;
        Ok(baseline)
    }

    /// Checks the baseline and writes it to a file.
    pub fn write(&self, path: &Path) -> Result<()> {
        self.check().map_err(|reason| Error::Usage(format!("{}: {reason}", path.display())))?;
        write_json(path, self)
    }

    fn check(&self) -> std::result::Result<(), String> {
        if self.entries.is_empty() {
            return Err(
                "`entries` is empty, so the gate could never fail; make it with `mkgc gate --update`".to_owned()
            );
        }
        for (index, entry) in self.entries.iter().enumerate() {
            let bad = |reason: String| format!("{} × {}: {reason}", entry.benchmark, entry.method);
            if self.entries[..index].iter().any(|other| other.key() == entry.key()) {
                return Err(bad(format!("is listed twice for {}; delete one of the entries", entry.device)));
            }
            entry.check().map_err(bad)?;
        }
        Ok(())
    }
}

/// What every version of the file format holds.
#[derive(Deserialize)]
struct Version {
    schema_version: u32,
}

impl BaselineEntry {
    /// Returns the benchmark, method and kind of device.
    pub fn key(&self) -> GateKey {
        GateKey { benchmark: self.benchmark.clone(), method: self.method.clone(), device: self.device.clone() }
    }

    fn check(&self) -> std::result::Result<(), String> {
        if self.seeds.is_empty() || self.metrics.is_empty() {
            return Err("`seeds` and `metrics` must name at least one each".to_owned());
        }
        let distinct: BTreeSet<u64> = self.seeds.iter().copied().collect();
        if distinct.len() < self.seeds.len() {
            return Err("`seeds` names a seed twice, but it counts once; name each seed once".to_owned());
        }
        self.metrics.iter().try_for_each(|(name, metric)| {
            metric.check(name, self.seeds.len()).map_err(|reason| format!("{name}: {reason}"))
        })?;
        let worst_passes = |(name, metric): &(&String, &Expectation)| metric.worst_passes(name, self.seeds.len());
        let scores: Vec<_> = self.metrics.iter().filter(|(name, metric)| metric.is_score(name)).collect();
        // A control that scores nothing has no score that could fall.
        let all_zero = self.metrics.values().all(|metric| metric.expected == 0.0);
        let measured = if scores.is_empty() { self.metrics.iter().collect() } else { scores };
        if !all_zero && measured.iter().all(worst_passes) {
            let reason = "with these tolerances, the worst scores would pass; give smaller ones, e.g. 0.02";
            return Err(reason.to_owned());
        }
        Ok(())
    }
}

impl Expectation {
    /// Checks that the expectation can be met and can be missed.
    fn check(&self, metric: &str, seeds: usize) -> std::result::Result<(), String> {
        let allowed = self.allowed(seeds);
        if !(allowed.is_finite() && allowed >= 0.0) {
            let reason = "the tolerance must be 0 or a positive number, and `standard_errors` needs `std`";
            return Err(reason.to_owned());
        }
        if allowed >= 1.0 {
            let reason = "scores are shares from 0 to 1, so the gate could never fail; give less than 1, e.g. 0.02";
            return Err(format!("a tolerance of {allowed} allows any score: {reason}"));
        }
        match Metric::from_key(metric).map(Metric::direction) {
            Some(direction) if direction != self.direction => {
                Err(format!("`direction` is the wrong way round, so the gate would pass what is worse; {REMAKE}"))
            }
            _ => Ok(()),
        }
    }
}
