//! Continual-learning metrics of the matrix `R[i][j]`: score on task `j` after learning tasks `0..=i` (`j <= i`).
//!
//! Libraries disagree on these names, so each function carries its source and [`Value`] says why one is undefined. A cell
//! without test rows is left out of every mean, and [`Entered`] says how many terms a mean is over.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A number, or why there is none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Value {
    /// Defined.
    Number(f64),
    /// `undefined: reason`.
    Undefined(String),
}

/// Returns why there is no score after `tasks` tasks: nothing was predicted.
pub(super) fn unscored(tasks: usize) -> Value {
    Value::undefined(&format!("no predictions after task {tasks}"))
}

impl Default for Value {
    /// What an older file does not hold.
    fn default() -> Self {
        Self::undefined("not in this version's results")
    }
}

impl Value {
    /// `undefined: reason`.
    pub fn undefined(reason: &str) -> Self {
        Self::Undefined(format!("undefined: {reason}"))
    }

    /// `undefined: reason`, if it is not.
    pub fn reason(&self) -> Option<String> {
        match self {
            Self::Number(_) => None,
            Self::Undefined(reason) => Some(reason.clone()),
        }
    }

    /// The mean of numbers; the first reason where one is undefined.
    pub fn mean<'a>(values: impl ExactSizeIterator<Item = &'a Self> + Clone) -> Self {
        if let Some(undefined) = values.clone().find(|value| value.number().is_none()) {
            return undefined.clone();
        }
        match values.len() {
            0 => Self::undefined("no task was learned"),
            count => Self::Number(values.filter_map(Self::number).sum::<f64>() / count as f64),
        }
    }

    /// The number, if defined.
    pub fn number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Undefined(_) => None,
        }
    }

    /// `self - other`; the first reason where one is undefined.
    fn less(&self, other: &Self) -> Self {
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
    /// Those with a score.
    pub n: usize,
    /// All.
    pub of: usize,
}

/// A mean over classes, tasks or stages, and how many of them it is over.
#[derive(Debug, Clone, PartialEq)]
pub struct Mean {
    /// The mean, or why there is none.
    pub value: Value,
    /// How many terms it is over.
    pub entered: Entered,
}

impl Mean {
    /// The mean of the terms that are numbers; the first reason where none is.
    pub fn of(terms: &[Value]) -> Self {
        let defined: Vec<&Value> = terms.iter().filter(|term| term.number().is_some()).collect();
        let entered = Entered { n: defined.len(), of: terms.len() };
        let value = if defined.is_empty() { Value::mean(terms.iter()) } else { Value::mean(defined.into_iter()) };
        Self { value, entered }
    }

    /// No mean of so many terms.
    pub fn undefined(value: Value, of: usize) -> Self {
        Self { value, entered: Entered { n: 0, of } }
    }
}

/// Row `i` holds `R[i][0..=i]`, or nothing where the stage has no predictions. A cell is undefined where task `j` has no
/// test rows.
pub type Matrix = Vec<Vec<Value>>;

/// Mean over tasks of the last row, `1/T sum_j R[T-1][j]` (Lopez-Paz and Ranzato 2017, "ACC").
pub fn average_lopezpaz17(matrix: &Matrix) -> Mean {
    match matrix.last() {
        Some(last) if last.is_empty() => Mean::undefined(unscored(matrix.len()), matrix.len()),
        last => Mean::of(last.map_or(&[], Vec::as_slice)),
    }
}

/// `1/(T-1) sum_{j<T-1} (max_{j<=l<T-1} R[l][j] - R[T-1][j])` (Chaudhry et al. 2018, eq. 3-4). Higher is worse.
pub fn forgetting_chaudhry18(matrix: &Matrix) -> Mean {
    over_old_tasks(matrix, |before, last| best(before).less(last))
}

/// `1/(T-1) sum_{j<T-1} (R[T-1][j] - R[j][j])` (Lopez-Paz and Ranzato 2017, "BWT"). Lower is worse.
pub fn bwt_lopezpaz17(matrix: &Matrix) -> Mean {
    over_old_tasks(matrix, |before, last| last.less(before[0]))
}

/// Plasticity: `1/T sum_i R[i][i]`, each task's score when it has just been learned (Riemer et al. 2019, "LA").
pub fn learning_accuracy_riemer19(matrix: &Matrix) -> Mean {
    gap(matrix).unwrap_or_else(|| Mean::of(&diagonal(matrix)))
}

/// `1/T sum_i (R*[i][i] - R[i][i])`, `R*` of a network trained on all tasks up to `i` at once (Chaudhry et al. 2018,
/// eq. 5, averaged over tasks). Higher is worse.
pub fn intransigence_chaudhry18(matrix: &Matrix, joint: &Matrix) -> Mean {
    if matrix.len() != joint.len() {
        return Mean::undefined(Value::undefined("Joint learned another number of tasks"), matrix.len());
    }
    if let Some(undefined) = gap(matrix).or_else(|| gap(joint)) {
        return undefined;
    }
    let losses: Vec<Value> =
        diagonal(joint).iter().zip(diagonal(matrix)).map(|(joint, own)| joint.less(&own)).collect();
    Mean::of(&losses)
}

/// Mean over old tasks `j` of a function of the column's `R[j..T-1][j]` (one value at least) and `R[T-1][j]`.
fn over_old_tasks(matrix: &Matrix, of: impl Fn(&[&Value], &Value) -> Value) -> Mean {
    let tasks = matrix.len();
    if tasks < 2 {
        return Mean::undefined(Value::undefined("needs at least two tasks"), 0);
    }
    if let Some(undefined) = gap(matrix) {
        return undefined;
    }
    let column = |j: usize| matrix[j..tasks - 1].iter().map(|row| &row[j]).collect::<Vec<_>>();
    Mean::of(&(0..tasks - 1).map(|j| of(&column(j), &matrix[tasks - 1][j])).collect::<Vec<_>>())
}

/// The highest number; the first reason where there is none.
fn best(values: &[&Value]) -> Value {
    let highest = values.iter().filter_map(|value| value.number()).reduce(f64::max);
    highest.map_or_else(|| values[0].clone(), Value::Number)
}

/// Why nothing that needs all stages is defined, if one has no predictions.
fn gap(matrix: &Matrix) -> Option<Mean> {
    let stage = matrix.iter().position(Vec::is_empty)?;
    Some(Mean::undefined(unscored(stage + 1), matrix.len()))
}

fn diagonal(matrix: &Matrix) -> Vec<Value> {
    matrix.iter().enumerate().map(|(i, row)| row[i].clone()).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// A matrix; NaN stands for a cell without test rows.
    fn matrix(rows: &[&[f64]]) -> Matrix {
        let cell = |cell: &f64| if cell.is_nan() { Value::undefined("no test rows") } else { Value::Number(*cell) };
        rows.iter().map(|row| row.iter().map(cell).collect()).collect()
    }

    fn close(mean: Mean, expected: f64, (n, of): (usize, usize)) {
        assert!((mean.value.number().unwrap() - expected).abs() < 1e-12, "{mean:?} is not {expected}");
        assert_eq!(mean.entered, Entered { n, of });
    }

    #[test]
    fn three_tasks_by_hand() {
        let all = matrix(&[&[0.9], &[0.95, 0.8], &[0.5, 0.6, 0.7]]);
        close(average_lopezpaz17(&all), 0.6, (3, 3));
        close(forgetting_chaudhry18(&all), ((0.95 - 0.5) + (0.8 - 0.6)) / 2.0, (2, 2));
        close(bwt_lopezpaz17(&all), ((0.5 - 0.9) + (0.6 - 0.8)) / 2.0, (2, 2));
        close(learning_accuracy_riemer19(&all), (0.9 + 0.8 + 0.7) / 3.0, (3, 3));
        let joint = matrix(&[&[0.9], &[0.7, 0.9], &[0.1, 0.2, 1.0]]);
        close(intransigence_chaudhry18(&all, &joint), ((0.9 - 0.9) + (0.9 - 0.8) + (1.0 - 0.7)) / 3.0, (3, 3));
    }

    /// Task 2 of 4 has no test rows: its column is undefined, and every mean is over the three others.
    #[test]
    fn a_task_without_test_rows_enters_no_mean() {
        let none = f64::NAN;
        let gappy = matrix(&[&[0.8], &[0.6, none], &[0.7, none, 0.9], &[0.5, none, 0.4, 0.6]]);
        close(average_lopezpaz17(&gappy), (0.5 + 0.4 + 0.6) / 3.0, (3, 4));
        close(forgetting_chaudhry18(&gappy), ((0.8 - 0.5) + (0.9 - 0.4)) / 2.0, (2, 3));
        close(bwt_lopezpaz17(&gappy), ((0.5 - 0.8) + (0.4 - 0.9)) / 2.0, (2, 3));
        close(learning_accuracy_riemer19(&gappy), (0.8 + 0.9 + 0.6) / 3.0, (3, 4));
        let joint = matrix(&[&[1.0], &[0.9, none], &[0.9, none, 0.9], &[0.9, none, 0.9, 0.8]]);
        close(intransigence_chaudhry18(&gappy, &joint), ((1.0 - 0.8) + 0.0 + (0.8 - 0.6)) / 3.0, (3, 4));
    }

    /// The types of task 1 are in the test files of stages 2 and 3 alone, those of task 2 in all but the last.
    #[test]
    fn cells_may_be_missing_within_a_column() {
        let none = f64::NAN;
        let gappy = matrix(&[&[none], &[0.6, 0.8], &[0.5, none, 0.7]]);
        close(forgetting_chaudhry18(&gappy), 0.6 - 0.5, (1, 2));
        assert_eq!(bwt_lopezpaz17(&gappy).value, Value::undefined("no test rows"));
        assert_eq!(bwt_lopezpaz17(&gappy).entered, Entered { n: 0, of: 2 });
        close(learning_accuracy_riemer19(&gappy), 0.75, (2, 3));
        close(average_lopezpaz17(&gappy), 0.6, (2, 3));
    }

    #[test]
    fn a_stage_without_predictions_leaves_what_it_needs_undefined() {
        let gappy = matrix(&[&[], &[0.75, 0.25]]);
        close(average_lopezpaz17(&gappy), 0.5, (2, 2));
        let joint = matrix(&[&[0.5], &[0.5, 0.5]]);
        let undefined = Value::Undefined("undefined: no predictions after task 1".to_owned());
        for of in [forgetting_chaudhry18, bwt_lopezpaz17, learning_accuracy_riemer19] {
            assert_eq!(of(&gappy).value, undefined);
        }
        assert_eq!(intransigence_chaudhry18(&gappy, &joint).value, undefined);
        assert_eq!(intransigence_chaudhry18(&joint, &gappy).value, undefined);
    }

    #[test]
    fn two_tasks_and_a_gain() {
        let gain = matrix(&[&[0.5], &[0.75, 0.25]]);
        close(forgetting_chaudhry18(&gain), -0.25, (1, 1));
        close(bwt_lopezpaz17(&gain), 0.25, (1, 1));
        close(learning_accuracy_riemer19(&gain), 0.375, (2, 2));
        // Joint may learn a task worse than the stream does.
        close(intransigence_chaudhry18(&gain, &matrix(&[&[0.25], &[0.5, 0.25]])), -0.125, (2, 2));
    }

    #[test]
    fn one_task_or_none_is_undefined_with_a_reason() {
        let (one, nothing) = (matrix(&[&[0.5]]), matrix(&[]));
        assert_eq!(forgetting_chaudhry18(&one).value, Value::undefined("needs at least two tasks"));
        assert_eq!(bwt_lopezpaz17(&nothing).value.number(), None);
        for of in [average_lopezpaz17, learning_accuracy_riemer19] {
            close(of(&one), 0.5, (1, 1));
            assert_eq!(of(&nothing).value.number(), None);
        }
        close(intransigence_chaudhry18(&one, &matrix(&[&[0.75]])), 0.25, (1, 1));
        assert_eq!(intransigence_chaudhry18(&one, &nothing).value.number(), None);
    }
}
