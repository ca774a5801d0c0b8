//! The labels that may be predicted after a task, against which predictions and scores are checked.

use mkgc_builder::corpus::Extraction;
use mkgc_builder::dataset::Row;
use mkgc_builder::error::hint;

use super::report::{Report, RowInFile};
use crate::data::{Benchmark, VisibleLabels};
use crate::run::predictions::PredictionRow;

/// The labels that may be predicted after a task.
pub struct AllowedLabels<'a> {
    names: &'a [String],
    kind: Extraction,
    seen: VisibleLabels,
}

impl<'a> AllowedLabels<'a> {
    /// Returns the labels that may be predicted after task `task`.
    pub fn new(benchmark: &'a Benchmark, task: usize) -> Self {
        Self { names: &benchmark.manifest().labels, kind: benchmark.kind(), seen: benchmark.seen(task) }
    }

    /// Turns a submitted row into a stored one, and reports what is wrong with it; `None` if its labels cannot be used.
    pub fn predicted(&self, row: &Row, given: RowInFile<'_>, report: &mut Report) -> Option<PredictionRow> {
        let submitted = given.row.prediction.as_ref()?;
        let (wanted, what) = match self.kind {
            Extraction::Relations => (1, "predictions that are not one relation"),
            Extraction::Entities => (row.tokens.len(), "predictions that are not one tag per word"),
        };
        let got = submitted.len();
        if got != wanted {
            report.error(given, what, || format!("{}: {got} for {wanted}", row.id));
        }
        let predicted: Vec<u32> = submitted.iter().filter_map(|label| self.label(label, given, report)).collect();
        if predicted.len() != wanted {
            return None;
        }
        let scores = self.scores(given, report);
        self.compare(&predicted, &scores, given, report);
        let gold = self.seen.gold(row);
        let id = row.id.clone();
        Some(PredictionRow { id, owner: row.owner_task, gold, predicted, scores, ..PredictionRow::default() })
    }

    /// Returns the id of a label that may be predicted.
    fn label(&self, label: &str, given: RowInFile<'_>, report: &mut Report) -> Option<u32> {
        let row = &given.row.id;
        let Some(id) = self.names.iter().position(|name| name == label).or_else(|| self.id(label)) else {
            // `mkgc stream` shows this to a method that must not know the names of later tasks.
            let known = self.names.iter().zip(&self.seen.allowed).filter(|(_, seen)| **seen);
            let example = || format!("{row}: `{label}`{}", hint(label, known.map(|(name, _)| name.as_str())));
            report.error(given, "labels that the benchmark does not have", example);
            return None;
        };
        if !self.seen.allowed[id] {
            report.error(given, "labels of tasks still to come", || format!("{row}: `{label}`"));
            return None;
        }
        Some(id as u32)
    }

    /// Reads a label that is given as its id; pandas writes whole numbers as 1.0 if one of the column is missing.
    fn id(&self, label: &str) -> Option<usize> {
        let number: f64 = label.parse().ok()?;
        (number >= 0.0 && number.fract() == 0.0).then_some(number as usize).filter(|id| *id < self.names.len())
    }

    /// Returns one score per label, minus infinity for labels not seen, as in mkgc's own runs.
    fn scores(&self, given: RowInFile<'_>, report: &mut Report) -> Vec<f32> {
        let scores = &given.row.scores;
        if scores.is_empty() {
            return Vec::new();
        }
        let row = &given.row.id;
        let wanted = if self.kind == Extraction::Relations { self.names.len() } else { 0 };
        let got = scores.len();
        let seen = self.seen.allowed.iter().zip(scores);
        let seen: Vec<f32> = seen.map(|(allowed, score)| if *allowed { *score } else { f32::NEG_INFINITY }).collect();
        if got != wanted {
            report.error(given, "scores that are not one per label (for tags, none)", || {
                format!("{row}: {got} for {wanted}")
            });
        } else if !seen.iter().any(|score| score.is_finite()) {
            let what =
                "scores without a finite number for any label seen so far (leave out `scores` if there are none)";
            report.error(given, what, || row.clone());
        }
        seen
    }

    /// Warns if another label than the predicted one has the highest score.
    fn compare(&self, predicted: &[u32], scores: &[f32], given: RowInFile<'_>, report: &mut Report) {
        let Some(own) = predicted.first().and_then(|label| scores.get(*label as usize)) else { return };
        let highest = (0..scores.len()).reduce(|best, label| if scores[label] > scores[best] { label } else { best });
        let Some(highest) = highest.filter(|highest| scores[*highest] > *own) else { return };
        let what =
            "predictions that are not the label with the highest score (scores are in the order of the label ids)";
        report.warning(given, what, || {
            let [predicted, highest] = [predicted[0] as usize, highest].map(|label| &self.names[label]);
            format!("{}: `{predicted}`, but `{highest}` has the highest score", given.row.id)
        });
    }
}
