//! Continual-learning metrics of the matrix `R[i][j]`: score on task `j` after learning tasks `0..=i` (`j <= i`).
//!
//! Libraries disagree on these names, so each function carries its source and [`Value`] says why one is undefined.

use serde::{Deserialize, Serialize};

/// A number, or why there is none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Value {
    /// Defined.
    Number(f64),
    /// `undefined: reason`.
    Undefined(String),
}

impl Value {
    /// The number, if defined.
    pub fn number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Undefined(_) => None,
        }
    }
}

/// Row `i` holds `R[i][0..=i]`.
pub type Matrix = Vec<Vec<f64>>;

/// Mean over tasks of the last row, `1/T sum_j R[T-1][j]` (Lopez-Paz and Ranzato 2017, "ACC").
pub fn average_lopezpaz17(matrix: &Matrix) -> Value {
    match matrix.last() {
        Some(last) if !last.is_empty() => Value::Number(last.iter().sum::<f64>() / last.len() as f64),
        _ => Value::Undefined("undefined: no task was learned".to_owned()),
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

/// Mean over old tasks `j` of a function of the column `R[j..T][j]` (two values at least).
fn over_old_tasks(matrix: &Matrix, of: impl Fn(&[f64]) -> f64) -> Value {
    let tasks = matrix.len();
    if tasks < 2 {
        return Value::Undefined("undefined: needs at least two tasks".to_owned());
    }
    let column = |j: usize| matrix[j..].iter().map(|row| row[j]).collect::<Vec<_>>();
    Value::Number((0..tasks - 1).map(|j| of(&column(j))).sum::<f64>() / (tasks - 1) as f64)
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
    }

    #[test]
    fn two_tasks_and_a_gain() {
        let matrix = vec![vec![0.5], vec![0.75, 0.25]];
        close(forgetting_chaudhry18(&matrix), -0.25);
        close(bwt_lopezpaz17(&matrix), 0.25);
    }

    #[test]
    fn one_task_or_none_is_undefined_with_a_reason() {
        assert_eq!(
            forgetting_chaudhry18(&vec![vec![0.5]]),
            Value::Undefined("undefined: needs at least two tasks".into())
        );
        assert_eq!(bwt_lopezpaz17(&vec![]).number(), None);
        close(average_lopezpaz17(&vec![vec![0.5]]), 0.5);
        assert_eq!(average_lopezpaz17(&vec![]).number(), None);
    }
}
