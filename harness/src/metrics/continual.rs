//! Continual-learning metrics of the matrix `R[i][j]`: score on task `j` after learning tasks `0..=i` (`j <= i`).
//!
//! Libraries disagree on these names, so each function names its source, and [`Value`] says why a score is undefined. Cells
//! without test rows are left out of every mean, and [`Mean::entered`] says how many terms a mean is over.

use super::value::{Mean, Value};

/// `R[i][j]`: row `i` holds `R[i][0..=i]`, or nothing if there are no predictions after task `i`. A cell is undefined if
/// task `j` has no test rows.
pub type Matrix = Vec<Vec<Value>>;

/// Averages the last row over the tasks, `1/T sum_j R[T-1][j]` (Lopez-Paz and Ranzato 2017, "ACC").
pub fn average_lopezpaz17(matrix: &Matrix) -> Mean {
    match matrix.last() {
        Some(last) if last.is_empty() => Mean::undefined(Value::unscored(matrix.len()), matrix.len()),
        last => Mean::over(last.map_or(&[], Vec::as_slice)),
    }
}

/// Returns `1/(T-1) sum_{j<T-1} (max_{j<=l<T-1} R[l][j] - R[T-1][j])` (Chaudhry et al. 2018, eq. 3-4). Higher is worse.
pub fn forgetting_chaudhry18(matrix: &Matrix) -> Mean {
    over_old_tasks(matrix, |before, last| best(before).less(last))
}

/// Returns `1/(T-1) sum_{j<T-1} (R[T-1][j] - R[j][j])` (Lopez-Paz and Ranzato 2017, "BWT"). Lower is worse.
pub fn bwt_lopezpaz17(matrix: &Matrix) -> Mean {
    over_old_tasks(matrix, |before, last| last.less(before[0]))
}

/// Returns the plasticity, `1/T sum_i R[i][i]`: each task's score right after it was learned (Riemer et al. 2019, "LA").
pub fn learning_accuracy_riemer19(matrix: &Matrix) -> Mean {
    missing_row(matrix).unwrap_or_else(|| Mean::over(&diagonal(matrix)))
}

/// Returns `1/T sum_i (R*[i][i] - R[i][i])`, where `R*` is the matrix of a network trained on all tasks up to `i` at once
/// (Chaudhry et al. 2018, eq. 5, averaged over tasks). Higher is worse.
pub fn intransigence_chaudhry18(matrix: &Matrix, joint: &Matrix) -> Mean {
    if matrix.len() != joint.len() {
        return Mean::undefined(Value::undefined("Joint learned another number of tasks"), matrix.len());
    }
    if let Some(undefined) = missing_row(matrix).or_else(|| missing_row(joint)) {
        return undefined;
    }
    let losses: Vec<Value> =
        diagonal(joint).iter().zip(diagonal(matrix)).map(|(joint, own)| joint.less(&own)).collect();
    Mean::over(&losses)
}

/// Averages, over all tasks `j` but the last, a function of `R[j..T-1][j]` (at least one value) and `R[T-1][j]`.
fn over_old_tasks(matrix: &Matrix, change: impl Fn(&[&Value], &Value) -> Value) -> Mean {
    let tasks = matrix.len();
    if tasks < 2 {
        return Mean::undefined(Value::undefined("needs at least two tasks"), 0);
    }
    if let Some(undefined) = missing_row(matrix) {
        return undefined;
    }
    let column = |j: usize| matrix[j..tasks - 1].iter().map(|row| &row[j]).collect::<Vec<_>>();
    Mean::over(&(0..tasks - 1).map(|j| change(&column(j), &matrix[tasks - 1][j])).collect::<Vec<_>>())
}

/// Returns the highest number, or the first reason if none is defined.
fn best(values: &[&Value]) -> Value {
    let highest = values.iter().filter_map(|value| value.number()).reduce(f64::max);
    highest.map_or_else(|| values[0].clone(), Value::Number)
}

/// Returns the undefined mean of metrics that need every row of the matrix, if a row is missing.
fn missing_row(matrix: &Matrix) -> Option<Mean> {
    let empty = matrix.iter().position(Vec::is_empty)?;
    Some(Mean::undefined(Value::unscored(empty + 1), matrix.len()))
}

fn diagonal(matrix: &Matrix) -> Vec<Value> {
    matrix.iter().enumerate().map(|(i, row)| row[i].clone()).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::metrics::value::Entered;

    /// Makes a matrix in which NaN stands for a cell without test rows.
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
    fn a_row_without_predictions_leaves_what_it_needs_undefined() {
        let gappy = matrix(&[&[], &[0.75, 0.25]]);
        close(average_lopezpaz17(&gappy), 0.5, (2, 2));
        let joint = matrix(&[&[0.5], &[0.5, 0.5]]);
        let undefined = Value::Undefined("undefined: no predictions after task 1".to_owned());
        for metric in [forgetting_chaudhry18, bwt_lopezpaz17, learning_accuracy_riemer19] {
            assert_eq!(metric(&gappy).value, undefined);
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
        let one = matrix(&[&[0.5]]);
        let nothing = matrix(&[]);
        assert_eq!(forgetting_chaudhry18(&one).value, Value::undefined("needs at least two tasks"));
        assert_eq!(bwt_lopezpaz17(&nothing).value.number(), None);
        for metric in [average_lopezpaz17, learning_accuracy_riemer19] {
            close(metric(&one), 0.5, (1, 1));
            assert_eq!(metric(&nothing).value.number(), None);
        }
        close(intransigence_chaudhry18(&one, &matrix(&[&[0.75]])), 0.25, (1, 1));
        assert_eq!(intransigence_chaudhry18(&one, &nothing).value.number(), None);
    }
}
