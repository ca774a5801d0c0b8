//! A benchmark opened for training: labels, tasks, and tokenised rows on request.

use std::collections::BTreeSet;
use std::path::Path;

use mkgc_builder::corpus::{Extraction, Split};
use mkgc_builder::dataset::{BenchmarkFolder, Manifest, Row, RowLabels};
use mkgc_builder::protocol::Tests;
use mkgc_models::text::WordTokenizer;
use rayon::prelude::*;

use super::Example;
use crate::error::Result;

/// The labels that a method may use while it learns a task, and after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VisibleLabels {
    /// 0-based task that is learned, or was learned last.
    pub task: usize,
    /// Whether each label id belongs to tasks `0..=task` or is `None` or `O`.
    pub allowed: Vec<bool>,
    /// Whether each label id belongs to this task or is `None` or `O`.
    pub current: Vec<bool>,
}

impl VisibleLabels {
    /// Returns the gold labels of a test row: the corpus's own where they are visible, `None` or `O` (id 0) elsewhere.
    pub fn gold(&self, row: &Row) -> Vec<u32> {
        let known = |label: &usize| if self.allowed[*label] { *label as u32 } else { 0 };
        match &row.labels {
            RowLabels::Relation { original, .. } => vec![known(original)],
            RowLabels::Entities { original, .. } => original.iter().map(known).collect(),
        }
    }
}

/// A task as a method sees it.
#[derive(Debug, Clone)]
pub struct Task {
    /// Labels that the method may use.
    pub seen: VisibleLabels,
    /// Training rows of this task.
    pub train: Vec<Example>,
}

/// A benchmark folder, opened for training.
pub struct Benchmark {
    pub(super) folder: BenchmarkFolder,
    max_length: usize,
}

impl Benchmark {
    /// Opens the folder that `mkgc build` wrote. Rows are cut to `max_length` word pieces.
    ///
    /// # Errors
    /// The folder is no benchmark.
    pub fn open(dir: &Path, max_length: usize) -> Result<Self> {
        Ok(Self { folder: BenchmarkFolder::open(dir)?, max_length })
    }

    /// Checks the files with the rows against the manifest.
    ///
    /// # Errors
    /// Some differ; the message lists them.
    pub fn check_rows(&self) -> Result<()> {
        Ok(self.folder.check_rows()?)
    }

    /// Returns the path of the folder.
    pub fn dir(&self) -> &Path {
        self.folder.dir()
    }

    /// Returns the manifest of the folder.
    pub fn manifest(&self) -> &Manifest {
        self.folder.manifest()
    }

    /// Returns whether rows hold relations or entities.
    pub fn kind(&self) -> Extraction {
        self.manifest().task
    }

    /// Returns the number of tasks.
    pub fn tasks(&self) -> usize {
        self.manifest().tasks.len()
    }

    /// Reads the rows of one file as stored.
    ///
    /// # Errors
    /// The file is missing or damaged.
    pub fn rows(&self, task: usize, split: Split) -> Result<Vec<Row>> {
        Ok(self.folder.rows(task, split)?)
    }

    /// Reads the rows that a model is tested on after tasks `0..=task`: those of the cumulative file, or of the files of
    /// these tasks one after another, each row once.
    ///
    /// # Errors
    /// A file is missing or damaged.
    pub fn test_rows(&self, task: usize) -> Result<Vec<Row>> {
        if self.manifest().tests == Tests::Cumulative.name() {
            return self.rows(task, Split::Test);
        }
        let mut rows = Vec::new();
        for task in 0..=task {
            rows.extend(self.rows(task, Split::Test)?);
        }
        let mut known = BTreeSet::new();
        rows.retain(|row| known.insert(row.id.clone()));
        Ok(rows)
    }

    /// Tokenises rows, in their order.
    ///
    /// # Errors
    /// A row that the tokenizer cannot encode.
    pub fn tokenised(&self, rows: &[Row], tokenizer: &WordTokenizer) -> Result<Vec<Example>> {
        rows.par_iter().map(|row| Example::new(row, tokenizer, self.max_length)).collect()
    }

    /// Reads every word of the training files, sorted and unique: the vocabulary of a built-in encoder.
    ///
    /// # Errors
    /// A file is missing or damaged.
    pub fn training_words(&self) -> Result<Vec<String>> {
        let mut words = BTreeSet::new();
        for task in 0..self.tasks() {
            words.extend(self.rows(task, Split::Train)?.into_iter().flat_map(|row| row.tokens));
        }
        Ok(words.into_iter().collect())
    }

    /// Reads and tokenises the training rows of a task; labels of later tasks become `None` or `O`.
    ///
    /// # Errors
    /// The file is missing or damaged.
    pub fn training(&self, task: usize, tokenizer: &WordTokenizer) -> Result<Vec<Example>> {
        let seen = self.seen(task);
        let rows = self.tokenised(&self.rows(task, Split::Train)?, tokenizer)?;
        Ok(rows.into_iter().map(|row| row.within(&seen.allowed)).collect())
    }

    /// Returns the labels that are visible after tasks `0..=task`.
    pub fn seen(&self, task: usize) -> VisibleLabels {
        let labels = self.manifest().label_set();
        VisibleLabels { task, allowed: labels.known_after(task), current: labels.trained_in(task) }
    }
}
