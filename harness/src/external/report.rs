//! Reports problems of a submitted row with its file, stage and place.

use super::problems::Problems;
use super::read::SubmittedRow;
use crate::error::{Error, Result};

/// A submitted row and the file that it is from.
#[derive(Debug, Clone, Copy)]
pub struct RowInFile<'a> {
    /// The file as messages show it.
    pub file: &'a str,
    /// The submitted row that a problem is about.
    pub row: &'a SubmittedRow,
}

/// What is wrong with predictions, and what is strange about them.
#[derive(Default)]
pub struct Report {
    /// Problems because of which the predictions cannot be scored.
    pub errors: Problems,
    /// Problems that their author should know of.
    pub warnings: Problems,
}

impl Report {
    /// Returns what is strange about predictions that can be scored.
    ///
    /// # Errors
    /// They cannot be scored; the message has all problems.
    pub fn accepted(self) -> Result<Vec<String>> {
        if self.errors.is_empty() {
            return Ok(self.warnings.paragraphs());
        }
        let paragraphs = self.errors.paragraphs().join("\n  ");
        Err(Error::Usage(format!("the predictions cannot be scored; nothing was written\n  {paragraphs}")))
    }

    /// Adds a problem because of which the predictions cannot be scored.
    pub fn error(&mut self, given: RowInFile<'_>, what: &str, example: impl FnOnce() -> String) {
        add(&mut self.errors, given, what, example);
    }

    /// Adds a problem that the author of the predictions should know of.
    pub fn warning(&mut self, given: RowInFile<'_>, what: &str, example: impl FnOnce() -> String) {
        add(&mut self.warnings, given, what, example);
    }
}

fn add(problems: &mut Problems, RowInFile { file, row }: RowInFile<'_>, what: &str, example: impl FnOnce() -> String) {
    problems.add(format!("{file}: stage {}: {what}", row.stage), || format!("{}: {}", row.place, example()));
}
