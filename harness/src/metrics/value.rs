//! A score that may be undefined, with its reason, and means that say over how many terms they are.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A number, or why there is none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Value {
    /// The score is defined: a share, where 1 stands for 100 %, or a difference of shares.
    Number(f64),
    /// The score is not defined, for the reason given as `undefined: reason`.
    Undefined(String),
}

impl Default for Value {
    /// Stands for a value that a result of an older version does not hold.
    fn default() -> Self {
        Self::undefined("not in this version's results")
    }
}

impl Value {
    /// Returns a value that is undefined for a reason.
    pub fn undefined(reason: &str) -> Self {
        Self::Undefined(format!("undefined: {reason}"))
    }

    /// Returns the value of every metric after `tasks` tasks whose test rows have no predictions.
    pub fn unscored(tasks: usize) -> Self {
        Self::undefined(&format!("no predictions after task {tasks}"))
    }

    /// Returns `undefined: reason` if there is no number.
    pub fn reason(&self) -> Option<String> {
        match self {
            Self::Number(_) => None,
            Self::Undefined(reason) => Some(reason.clone()),
        }
    }

    /// Returns the mean of numbers, or the first reason if any is undefined.
    pub fn mean<'a>(values: impl ExactSizeIterator<Item = &'a Self> + Clone) -> Self {
        if let Some(undefined) = values.clone().find(|value| value.number().is_none()) {
            return undefined.clone();
        }
        match values.len() {
            0 => Self::undefined("no task was learned"),
            count => Self::Number(values.filter_map(Self::number).sum::<f64>() / count as f64),
        }
    }

    /// Returns the number if it is defined.
    pub fn number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Undefined(_) => None,
        }
    }

    /// Returns `self - other`, or the first reason if either is undefined.
    pub(super) fn less(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::Number(one), Self::Number(other)) => Self::Number(one - other),
            (Self::Undefined(_), _) => self.clone(),
            _ => other.clone(),
        }
    }
}

/// How many classes, tasks or stages entered a mean; the others have no test rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Entered {
    /// Number of scores that are defined.
    pub n: usize,
    /// Number of all scores, defined or not.
    pub of: usize,
}

/// A mean over classes, tasks or stages.
#[derive(Debug, Clone, PartialEq)]
pub struct Mean {
    /// The mean, or why there is none.
    pub value: Value,
    /// How many terms the mean is over.
    pub entered: Entered,
}

impl Mean {
    /// Averages the terms that are numbers. Without any, the mean has the reason of the first term.
    pub fn over(terms: &[Value]) -> Self {
        let defined: Vec<&Value> = terms.iter().filter(|term| term.number().is_some()).collect();
        let entered = Entered { n: defined.len(), of: terms.len() };
        let value = if defined.is_empty() { Value::mean(terms.iter()) } else { Value::mean(defined.into_iter()) };
        Self { value, entered }
    }

    /// Returns an undefined mean of `terms` terms.
    pub fn undefined(value: Value, terms: usize) -> Self {
        Self { value, entered: Entered { n: 0, of: terms } }
    }
}
