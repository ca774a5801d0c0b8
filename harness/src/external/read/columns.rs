//! Finds the columns of a file of predictions by their names, and says what may be meant where one is missing.

use super::cell::Cell;

/// The cells of a row.
#[derive(Debug, Clone, PartialEq)]
pub struct Cells {
    /// Stage after which the prediction was made.
    pub stage: Cell,
    /// Id of the test row.
    pub id: Cell,
    /// One label, or one per word.
    pub prediction: Cell,
    /// One number per label of the benchmark, by label id; files may do without.
    pub scores: Cell,
}

impl Cells {
    /// Makes a row of what `cell` returns for the name of each column.
    pub fn new(cell: impl Fn(&str) -> Cell) -> Self {
        Self { stage: cell("stage"), id: cell("id"), prediction: cell("prediction"), scores: cell("scores") }
    }
}

/// The names of the columns, each with names by which other programs call the same.
const COLUMNS: [(&str, &[&str]); 4] = [
    ("stage", &["stages", "task", "task_id", "experience", "step", "session"]),
    (
        "id",
        &["ids", "row_id", "row", "example_id", "sample_id", "instance_id", "test_id", "uid", "guid", "index", "idx"],
    ),
    (
        "prediction",
        &[
            "predictions",
            "predicted",
            "pred",
            "preds",
            "y_pred",
            "label",
            "labels",
            "relation",
            "tag",
            "tags",
            "output",
        ],
    ),
    ("scores", &["score", "logits", "probs", "probabilities"]),
];

/// Checks the names of a file's columns. The stage may be `given` with the file, and scores may be missing.
///
/// # Errors
/// What is missing or there twice, and the names that are expected.
pub fn check(names: &[&str], stage_given: bool) -> Result<(), String> {
    let mut wrong = Vec::new();
    for (column, others) in COLUMNS {
        match names.iter().filter(|name| **name == column).count() {
            0 if column == "scores" || column == "stage" && stage_given => {}
            0 => wrong.push(format!("there is no column `{column}`{}", meant(column, others, names))),
            1 => {}
            more => wrong.push(format!("there are {more} columns `{column}`")),
        }
    }
    if wrong.is_empty() {
        return Ok(());
    }
    let known: Vec<String> = names.iter().take(20).map(|name| format!("`{name}`")).collect();
    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    Err(format!(
        "{}; expected are `id`, `prediction`, `stage` (or give the file as that of a stage: --predictions 0=FILE) and, \
         optionally, `scores`; the file has {known}",
        wrong.join("; ")
    ))
}

/// Returns the remedy if a column has another name.
fn meant(column: &str, others: &[&str], names: &[&str]) -> String {
    let same = |name: &&&str| {
        let name = name.to_lowercase();
        name == column || others.contains(&name.as_str())
    };
    names.iter().find(same).map_or_else(String::new, |name| format!(" (rename `{name}`?)"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn missing_columns_are_named_with_what_may_be_meant() {
        check(&["", "scores", "prediction", "id", "stage", "note"], false).unwrap();
        check(&["id", "prediction"], true).unwrap();
        let error = check(&["row_id", "Prediction", "stage"], false).unwrap_err();
        assert!(
            error.starts_with(
                "there is no column `id` (rename `row_id`?); there is no column `prediction` (rename `Prediction`?); expected"
            ),
            "{error}"
        );
        assert!(error.ends_with("the file has `row_id`, `Prediction`, `stage`"), "{error}");
        let error = check(&["id", "label"], false).unwrap_err();
        assert!(error.contains("no column `stage`; there is no column `prediction` (rename `label`?)"), "{error}");
        assert!(
            check(&["id", "id", "prediction"], true).unwrap_err().starts_with("there are 2 columns `id`; expected")
        );
        assert!(check(&[], true).unwrap_err().ends_with("the file has none"));
    }
}
