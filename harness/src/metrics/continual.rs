//! Continual-learning metrics of the matrix `R[i][j]`: score on task `j` after learning tasks `0..=i` (`j <= i`).
//!
//! Libraries disagree on these names, so each function carries its source and [`Value`] says why one is undefined.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::stage::unscored;

/// A number, or why there is none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Value {
    /// Defined.
    Number(f64),
    /// `undefined: reason`.
    Undefined(String),
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
}

/// Row `i` holds `R[i][0..=i]`, or nothing where the stage has no predictions.
pub type Matrix = Vec<Vec<f64>>;

/// Mean over tasks of the last row, `1/T sum_j R[T-1][j]` (Lopez-Paz and Ranzato 2017, "ACC").
pub fn average_lopezpaz17(matrix: &Matrix) -> Value {
    match matrix.last() {
        Some(last) if last.is_empty() => unscored(matrix.len()),
        last => mean(last.map_or(&[], Vec::as_slice)),
    }
}

/// `1/(T-1) sum_{j<T-1} (max_{j<=l<T-1} R[l][j] - R[T-1][j])` (Chaudhry et al. 2018, eq. 3-4). Higher is worse.
pub fn forgetting_chaudhry18(matrix: &Matrix) -> Value {
    over_old_tasks(matrix, |column| {
        let (last, before) = column.split_last().unwrap_or((&0.0, &[]));
        before.iter().copied().fold(f64::NEG_INFINITY, f64::max) - last
    })
}

/// `1/(T-1) sum_{j<T-1} (R[T-1][j] - R[j][j])` (Lopez-Paz and Ranzato 2017, "BWT"). Lower is worse.
pub fn bwt_lopezpaz17(matrix: &Matrix) -> Value {
    over_old_tasks(matrix, |column| column[column.len() - 1] - column[0])
}

/// Plasticity: `1/T sum_i R[i][i]`, each task's score when it has just been learned (Riemer et al. 2019, "LA").
pub fn learning_accuracy_riemer19(matrix: &Matrix) -> Value {
    gap(matrix).unwrap_or_else(|| mean(&diagonal(matrix)))
}

/// `1/T sum_i (R*[i][i] - R[i][i])`, `R*` of a network trained on all tasks up to `i` at once (Chaudhry et al. 2018,
/// eq. 5, averaged over tasks). Higher is worse.
pub fn intransigence_chaudhry18(matrix: &Matrix, joint: &Matrix) -> Value {
    if matrix.len() != joint.len() {
        return Value::undefined("Joint learned another number of tasks");
    }
    if let Some(undefined) = gap(matrix).or_else(|| gap(joint)) {
        return undefined;
    }
    let losses: Vec<f64> = diagonal(joint).iter().zip(diagonal(matrix)).map(|(joint, own)| joint - own).collect();
    mean(&losses)
}

/// Mean over old tasks `j` of a function of the column `R[j..T][j]` (two values at least).
fn over_old_tasks(matrix: &Matrix, of: impl Fn(&[f64]) -> f64) -> Value {
    let tasks = matrix.len();
    if tasks < 2 {
        return Value::undefined("needs at least two tasks");
    }
    if let Some(undefined) = gap(matrix) {
        return undefined;
    }
    let column = |j: usize| matrix[j..].iter().map(|row| row[j]).collect::<Vec<_>>();
    mean(&(0..tasks - 1).map(|j| of(&column(j))).collect::<Vec<_>>())
}

/// Why nothing that needs all stages is defined, if one has no predictions.
fn gap(matrix: &Matrix) -> Option<Value> {
    matrix.iter().position(Vec::is_empty).map(|stage| unscored(stage + 1))
}

fn diagonal(matrix: &Matrix) -> Vec<f64> {
    matrix.iter().enumerate().map(|(i, row)| row[i]).collect()
}

fn mean(values: &[f64]) -> Value {
    let values: Vec<Value> = values.iter().copied().map(Value::Number).collect();
    Value::mean(values.iter())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn close(value: Value, expected: f64) {
        assert!((value.number().unwrap() - expected).abs() < 1e-12, "{value:?} is not {expected}");
    }

    #[test]
    fn three_tasks_by_hand() {
        let matrix = vec![vec![0.9], vec![0.95, 0.8], vec![0.5, 0.6, 0.7]];
        close(average_lopezpaz17(&matrix), 0.6);
        close(forgetting_chaudhry18(&matrix), ((0.95 - 0.5) + (0.8 - 0.6)) / 2.0);
        close(bwt_lopezpaz17(&matrix), ((0.5 - 0.9) + (0.6 - 0.8)) / 2.0);
        close(learning_accuracy_riemer19(&matrix), (0.9 + 0.8 + 0.7) / 3.0);
        let joint = vec![vec![0.9], vec![0.7, 0.9], vec![0.1, 0.2, 1.0]];
        close(intransigence_chaudhry18(&matrix, &joint), ((0.9 - 0.9) + (0.9 - 0.8) + (1.0 - 0.7)) / 3.0);
    }

    #[test]
    fn a_stage_without_predictions_leaves_what_it_needs_undefined() {
        let matrix = vec![vec![], vec![0.75, 0.25]];
        close(average_lopezpaz17(&matrix), 0.5);
        let joint = vec![vec![0.5], vec![0.5, 0.5]];
        let undefined = Value::Undefined("undefined: no predictions after task 1".to_owned());
        for of in [forgetting_chaudhry18, bwt_lopezpaz17, learning_accuracy_riemer19] {
            assert_eq!(of(&matrix), undefined);
        }
        assert_eq!(intransigence_chaudhry18(&matrix, &joint), undefined);
        assert_eq!(intransigence_chaudhry18(&joint, &matrix), undefined);
    }

    #[test]
    fn two_tasks_and_a_gain() {
        let matrix = vec![vec![0.5], vec![0.75, 0.25]];
        close(forgetting_chaudhry18(&matrix), -0.25);
        close(bwt_lopezpaz17(&matrix), 0.25);
        close(learning_accuracy_riemer19(&matrix), 0.375);
        // Joint may learn a task worse than the stream does.
        close(intransigence_chaudhry18(&matrix, &vec![vec![0.25], vec![0.5, 0.25]]), -0.125);
    }

    #[test]
    fn one_task_or_none_is_undefined_with_a_reason() {
        assert_eq!(
            forgetting_chaudhry18(&vec![vec![0.5]]),
            Value::Undefined("undefined: needs at least two tasks".into())
        );
        assert_eq!(bwt_lopezpaz17(&vec![]).number(), None);
        for of in [average_lopezpaz17, learning_accuracy_riemer19] {
            close(of(&vec![vec![0.5]]), 0.5);
            assert_eq!(of(&vec![]).number(), None);
        }
        close(intransigence_chaudhry18(&vec![vec![0.5]], &vec![vec![0.75]]), 0.25);
        assert_eq!(intransigence_chaudhry18(&vec![vec![0.5]], &vec![]).number(), None);
    }
}
