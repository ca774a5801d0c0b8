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
//! `expected` is the mean over the seeds, `std` their sample standard deviation (from two seeds on). Scores are shares.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::files::{read_json, write_json};

/// Version of the file.
pub const SCHEMA_VERSION: u32 = 1;

/// The file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Baseline {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// In the order of benchmarks, methods, devices.
    pub entries: Vec<Entry>,
}

/// The runs of a method on a benchmark and a kind of device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Protocol name.
    pub benchmark: String,
    /// [`crate::run::record::RunRecord::label`].
    pub method: String,
    /// `cpu` or `cuda`; `external` where it is not known.
    pub device: String,
    /// Training seeds; a run of each must be there.
    pub seeds: Vec<u64>,
    /// Of the benchmark's rows (`data`), the text `encoder` and the `vision` encoder.
    pub fingerprints: BTreeMap<String, String>,
    /// By name.
    pub metrics: BTreeMap<String, Expectation>,
}

/// What a metric is expected to be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expectation {
    /// Mean over the seeds.
    pub expected: f64,
    /// Sample standard deviation over the seeds.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub std: Option<f64>,
    /// Which way is better.
    pub direction: Direction,
    /// How far from `expected` a mean may lie.
    pub tolerance: Tolerance,
}

/// Which way is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// As for F1.
    HigherIsBetter,
    /// As for forgetting.
    LowerIsBetter,
}

/// How far a mean may lie from the expected one.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tolerance {
    /// This far.
    Absolute(f64),
    /// So many standard errors of the difference of two means over independent runs, `std * sqrt(2 / seeds)`.
    StandardErrors(f64),
}

impl Expectation {
    /// The tolerance in units of the metric.
    pub fn allowed(&self, seeds: usize) -> f64 {
        match self.tolerance {
            Tolerance::Absolute(allowed) => allowed,
            Tolerance::StandardErrors(k) => k * self.std.unwrap_or(f64::NAN) * (2.0 / seeds as f64).sqrt(),
        }
    }
}

impl Baseline {
    /// Reads and checks a file.
    pub fn read(path: &Path) -> Result<Self> {
        let bad = |reason: String| Error::Usage(format!("{}: {reason}", path.display()));
        if !path.exists() {
            return Err(bad("there is no such file; make it with `mkgc gate --update`".to_owned()));
        }
        let value: serde_json::Value = read_json(path)?;
        if value["schema_version"] != SCHEMA_VERSION {
            return Err(bad(format!(
                "schema_version is {}, this mkgc reads {SCHEMA_VERSION}",
                value["schema_version"]
            )));
        }
        let baseline: Self = serde_json::from_value(value).map_err(|error| bad(error.to_string()))?;
        baseline.check().map_err(bad)?;
        Ok(baseline)
    }

    /// Checks and writes the file.
    pub fn write(&self, path: &Path) -> Result<()> {
        self.check().map_err(|reason| Error::Usage(format!("{}: {reason}", path.display())))?;
        write_json(path, self)
    }

    fn check(&self) -> std::result::Result<(), String> {
        let named =
            |entry: &Entry| entry.check().map_err(|reason| format!("{} × {}: {reason}", entry.benchmark, entry.method));
        self.entries.iter().try_for_each(named)
    }
}

impl Entry {
    fn check(&self) -> std::result::Result<(), String> {
        if self.seeds.is_empty() || self.metrics.is_empty() {
            return Err("`seeds` and `metrics` must name at least one each".to_owned());
        }
        for (name, metric) in &self.metrics {
            let allowed = metric.allowed(self.seeds.len());
            if !(allowed.is_finite() && allowed >= 0.0) {
                return Err(format!(
                    "{name}: the tolerance must be 0 or a positive number, and `standard_errors` needs `std`"
                ));
            }
        }
        Ok(())
    }
}
