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

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::key::GateKey;
use crate::error::{Error, Result};
use crate::files::{read_json, write_json};
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
    /// Protocol name.
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
    /// Which way is better.
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

impl Expectation {
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

    /// Checks the baseline and writes it to a file.
    pub fn write(&self, path: &Path) -> Result<()> {
        self.check().map_err(|reason| Error::Usage(format!("{}: {reason}", path.display())))?;
        write_json(path, self)
    }

    fn check(&self) -> std::result::Result<(), String> {
        self.entries.iter().try_for_each(|entry| {
            entry.check().map_err(|reason| format!("{} × {}: {reason}", entry.benchmark, entry.method))
        })
    }
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
