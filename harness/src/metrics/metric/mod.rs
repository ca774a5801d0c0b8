//! Every metric: its key in files, its title, its formula and source, which way is better, and its function.
//!
//! [`StageMetric`] lists what is measured on a test file, [`MatrixMetric`] what is measured on the matrix `R[i][j]`, and
//! [`Metric`] names every number that follows from them. To add a metric, write its function and one entry of a list: it
//! then appears in `result.json`, in every table and in every file of a report. Keys are strings only in files.

mod matrix;
mod spec;
mod stage;

pub use matrix::{MatrixFormula, MatrixMetric};
pub use spec::Direction;
pub use stage::{Basis, PredictionSet, StageMetric};

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::BTreeMap;

use mkgc_builder::corpus::Extraction;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::half::Half;

/// A number that files and tables name. Scores are shares, from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metric {
    /// The value after each task.
    Stage(StageMetric),
    /// The value after the last task.
    Last(StageMetric),
    /// The mean over the stages (average incremental score, Rebuffi et al. 2017).
    AverageIncremental(StageMetric),
    /// A metric of the matrix.
    Matrix(MatrixMetric),
}

impl Metric {
    /// The main metric after the last task, by which entries are ranked and compared.
    pub const RANKING: Self = Self::Last(StageMetric::MAIN);

    /// Returns every metric in the order of tables: after each task, of the last one and averaged, of the matrix.
    pub fn all() -> impl Iterator<Item = Self> {
        let stages = || StageMetric::ALL.iter().copied();
        let over_stages = stages().flat_map(|metric| [Self::Last(metric), Self::AverageIncremental(metric)]);
        stages().map(Self::Stage).chain(over_stages).chain(MatrixMetric::ALL.iter().copied().map(Self::Matrix))
    }

    /// Finds the metric that a key names.
    pub fn from_key(key: &str) -> Option<Self> {
        Self::all().find(|metric| metric.key() == key)
    }

    /// Returns the key in files, e.g. `last_micro_f1` or `forgetting_chaudhry18`.
    pub fn key(self) -> &'static str {
        match self {
            Self::Stage(metric) => metric.key(),
            Self::Last(metric) => metric.last_key(),
            Self::AverageIncremental(metric) => metric.average_key(),
            Self::Matrix(metric) => metric.key(),
        }
    }

    /// Returns the title for people, which depends on whether relations or entities are extracted.
    pub fn title(self, task: Extraction) -> String {
        match self {
            Self::Stage(metric) => metric.title(task).to_owned(),
            Self::Last(metric) => format!("{}, last", metric.title(task)),
            Self::AverageIncremental(metric) => format!("{}, average", metric.title(task)),
            Self::Matrix(metric) => metric.title().to_owned(),
        }
    }

    /// Returns the formula and its source.
    pub fn formula(self) -> String {
        match self {
            Self::Stage(metric) => metric.formula().to_owned(),
            Self::Last(metric) => format!("`{}` after the last task", metric.key()),
            Self::AverageIncremental(metric) => {
                format!("mean of `{}` over the stages (Rebuffi et al. 2017, average incremental)", metric.key())
            }
            Self::Matrix(metric) => metric.formula().to_owned(),
        }
    }

    /// Returns which way is better.
    pub fn direction(self) -> Direction {
        match self {
            Self::Stage(_) | Self::Last(_) | Self::AverageIncremental(_) => Direction::HigherIsBetter,
            Self::Matrix(metric) => metric.direction(),
        }
    }

    /// Tells whether more is better.
    pub fn higher_is_better(self) -> bool {
        self.direction() == Direction::HigherIsBetter
    }

    /// Returns the half of a two-stream network that the metric is about, if it is about one.
    pub fn half(self) -> Option<Half> {
        match self {
            Self::Stage(metric) | Self::Last(metric) | Self::AverageIncremental(metric) => metric.half(),
            Self::Matrix(metric) => metric.half(),
        }
    }
}

// Metrics are ordered and found by key, so that maps of them are written in the order of their keys.
impl Ord for Metric {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(other.key())
    }
}

impl PartialOrd for Metric {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Borrow<str> for Metric {
    fn borrow(&self) -> &str {
        self.key()
    }
}

impl Serialize for Metric {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.key())
    }
}

/// Reads a map by key and leaves out metrics that this version does not know.
pub(super) fn known<'de, D, V>(deserializer: D) -> Result<BTreeMap<Metric, V>, D::Error>
where
    D: Deserializer<'de>,
    V: Deserialize<'de>,
{
    let by_key = BTreeMap::<String, V>::deserialize(deserializer)?;
    Ok(by_key.into_iter().filter_map(|(key, value)| Some((Metric::from_key(&key)?, value))).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_key_names_one_metric() {
        for metric in Metric::all() {
            assert_eq!(Metric::from_key(metric.key()), Some(metric));
            assert_eq!(serde_json::to_value(metric).unwrap(), metric.key());
        }
        assert_eq!(Metric::from_key("last_nonsense"), None);
    }
}
