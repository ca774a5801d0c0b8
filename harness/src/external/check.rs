//! Compares predictions with the test rows of a benchmark. All problems are collected before any is reported.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use mkgc_builder::dataset::Row;

use super::labels::AllowedLabels;
use super::problems::Problems;
use super::read::{FileRows, SubmittedRow};
use super::report::{Report, RowInFile};
use crate::data::Benchmark;
use crate::error::Result;
use crate::run::predictions::PredictionRow;

/// Predictions that can be scored.
pub struct Checked {
    /// The predictions after each task in the order of its test rows, with gold labels from the benchmark; `None` where there
    /// are none.
    pub stages: Vec<Option<Vec<PredictionRow>>>,
    /// What is strange about them.
    pub warnings: Vec<String>,
}

/// Compares the rows of all files with the benchmark. `problems` are those that reading the files found. Predictions after
/// the last task are required.
///
/// # Errors
/// All problems; a file of the benchmark cannot be read.
pub fn check(benchmark: &Benchmark, files: &[FileRows], problems: Problems) -> Result<Checked> {
    let complete = files.iter().all(|file| file.complete);
    let last = benchmark.test_rows(benchmark.tasks() - 1)?.into_iter().map(|row| row.id).collect();
    let mut check = Check { benchmark, complete, last, report: Report { errors: problems, ..Report::default() } };
    check.empty_files(files)?;
    let mut stages = Vec::new();
    for (stage, given) in check.by_stage(files).into_iter().enumerate() {
        stages.push(check.stage(stage, &benchmark.test_rows(stage)?, given));
    }
    let warnings = check.report.accepted()?;
    Ok(Checked { stages, warnings })
}

/// Compares the rows of one stage with `rows`, the test rows of that stage, and returns the predictions in their order with
/// what is strange about them, which is found in that order, too. `problems` are those that reading them found.
///
/// # Errors
/// All problems.
pub fn check_stage(
    benchmark: &Benchmark,
    stage: usize,
    rows: &[Row],
    given: &FileRows,
    problems: Problems,
) -> Result<(Vec<PredictionRow>, Vec<String>)> {
    let report = Report { errors: problems, ..Report::default() };
    let mut check = Check { benchmark, complete: given.complete, last: BTreeSet::new(), report };
    let by_id = check.by_stage(std::slice::from_ref(given)).swap_remove(stage);
    let predictions = check.stage(stage, rows, by_id);
    let warnings = check.report.accepted()?;
    Ok((predictions.unwrap_or_default(), warnings))
}

struct Check<'a> {
    benchmark: &'a Benchmark,
    /// Whether the stage and id of every row are known, so that missing rows can be told.
    complete: bool,
    /// Ids of the test rows of the last stage, which are those of all stages.
    last: BTreeSet<String>,
    report: Report,
}

/// The rows of one stage by their ids.
type ById<'a> = BTreeMap<&'a str, RowInFile<'a>>;

impl Check<'_> {
    /// Reports files without rows, except those of a stage that has no test row.
    fn empty_files(&mut self, files: &[FileRows]) -> Result<()> {
        for file in files.iter().filter(|file| file.complete && file.rows.is_empty()) {
            let stage = file.stage.filter(|stage| *stage < self.benchmark.tasks());
            let expected = stage.map(|stage| self.benchmark.test_rows(stage)).transpose()?;
            if expected.is_none_or(|rows| !rows.is_empty()) {
                self.report.errors.add_once(format!("{}: has no rows", file.name));
            }
        }
        Ok(())
    }

    fn by_stage<'f>(&mut self, files: &'f [FileRows]) -> Vec<ById<'f>> {
        let tasks = self.benchmark.tasks();
        let mut stages = vec![ById::new(); tasks];
        for (file, row) in files.iter().flat_map(|file| file.rows.iter().map(move |row| (file, row))) {
            let SubmittedRow { place, id, stage, .. } = row;
            let given = RowInFile { file: &file.name, row };
            let Some(known) = stages.get_mut(*stage) else {
                let kind = format!("{}: rows of stages that do not exist (there are 0 to {})", file.name, tasks - 1);
                self.report.errors.add(kind, || format!("{place}: {id} of stage {stage}"));
                continue;
            };
            match known.entry(id) {
                Entry::Vacant(free) => {
                    free.insert(given);
                }
                Entry::Occupied(first) => {
                    let first = first.get();
                    let other_file =
                        if first.file == given.file { String::new() } else { format!(" of {}", first.file) };
                    let first = first.row.place;
                    self.report
                        .error(given, "ids given more than once", || format!("{id}, first in {first}{other_file}"));
                }
            }
        }
        stages
    }

    /// Returns the predictions of the test rows after a task, or `None` if there are none.
    fn stage(&mut self, stage: usize, rows: &[Row], mut given: ById<'_>) -> Option<Vec<PredictionRow>> {
        let Some(file) = given.values().next().map(|first| first.file) else {
            return self.not_given(stage, rows);
        };
        let labels = AllowedLabels::new(self.benchmark, stage);
        let mut predictions = Vec::new();
        let mut unscored = Vec::new();
        for row in rows {
            let Some(own) = given.remove(row.id.as_str()) else {
                if self.complete {
                    let kind = format!("{file}: stage {stage}: test rows without a prediction");
                    self.report.errors.add(kind, || row.id.clone());
                }
                continue;
            };
            if own.row.scores.is_empty() {
                unscored.push(own);
            }
            predictions.extend(labels.predicted(row, own, &mut self.report));
        }
        if unscored.len() < predictions.len() {
            self.report_unscored(&unscored);
        }
        self.report_unknown(stage, rows, given);
        Some(predictions)
    }

    /// Handles a stage without predictions, which may be one without test rows.
    fn not_given(&mut self, stage: usize, rows: &[Row]) -> Option<Vec<PredictionRow>> {
        if rows.is_empty() {
            return Some(Vec::new());
        }
        if self.complete && stage + 1 == self.benchmark.tasks() {
            let problem = format!("there are no predictions of the last stage, {stage}, by which runs are ranked");
            self.report.errors.add_once(problem);
        }
        None
    }

    fn report_unscored(&mut self, rows: &[RowInFile<'_>]) {
        for row in rows {
            let what =
                "rows without scores beside rows with scores, so that the metrics of masked predictions are undefined";
            self.report.warning(*row, what, || row.row.id.clone());
        }
    }

    /// Reports rows that remain once those of the test were taken.
    fn report_unknown(&mut self, stage: usize, rows: &[Row], given: ById<'_>) {
        let like = rows.first().map_or_else(String::new, |row| format!(", which look like `{}`", row.id));
        for (id, given) in given {
            if self.last.contains(id) {
                self.report.error(given, "ids of test rows that only later stages have", || id.to_owned());
            } else {
                let what = format!("ids that are no test rows of stage {stage}{like}");
                self.report.error(given, &what, || id.to_owned());
            }
        }
    }
}
