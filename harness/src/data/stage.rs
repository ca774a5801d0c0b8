//! A benchmark opened for training: labels, tasks, and tokenised rows on request.

use std::collections::BTreeSet;
use std::path::Path;

use mkgc_builder::corpus::{Split, TaskKind};
use mkgc_builder::dataset::{BenchmarkFolder, Manifest, Row, RowLabels};
use mkgc_builder::protocol::Tests;
use mkgc_models::text::WordTokenizer;
use rayon::prelude::*;

use super::Example;
use crate::error::Result;

/// The labels a learner may use at a stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// 0-based index of the task being learned.
    pub stage: usize,
    /// Per label id: does it belong to tasks `0..=stage` (or is it `None`/`O`)?
    pub allowed: Vec<bool>,
    /// Per label id: does it belong to this task (or is it `None`/`O`)?
    pub current: Vec<bool>,
}

impl Seen {
    /// Gold labels of a test row: the corpus's own where they were seen, `None`/`O` (id 0) elsewhere.
    pub fn gold(&self, row: &Row) -> Vec<u32> {
        let known = |label: &usize| if self.allowed[*label] { *label as u32 } else { 0 };
        match &row.labels {
            RowLabels::Relation { original, .. } => vec![known(original)],
            RowLabels::Entities { original, .. } => original.iter().map(known).collect(),
        }
    }
}

/// One task as a method sees it.
#[derive(Debug, Clone)]
pub struct Task {
    /// Labels seen so far.
    pub seen: Seen,
    /// Training rows of this task.
    pub train: Vec<Example>,
}

/// A built benchmark with its tokenizer.
pub struct Benchmark {
    pub(super) folder: BenchmarkFolder,
    max_length: usize,
}

impl Benchmark {
    /// Opens the folder `mkgc build` wrote.
    pub fn open(dir: &Path, max_length: usize) -> Result<Self> {
        Ok(Self { folder: BenchmarkFolder::open(dir)?, max_length })
    }

    /// Its manifest.
    pub fn manifest(&self) -> &Manifest {
        self.folder.manifest()
    }

    /// RE or NER.
    pub fn kind(&self) -> TaskKind {
        self.manifest().task
    }

    /// Number of tasks in the stream.
    pub fn tasks(&self) -> usize {
        self.manifest().tasks.len()
    }

    /// The rows of a file as stored.
    pub fn rows(&self, task: usize, split: Split) -> Result<Vec<Row>> {
        Ok(self.folder.rows(task, split)?)
    }

    /// The rows a model that has learned tasks `0..=stage` is tested on: the cumulative file, or the files of those
    /// tasks one after another, each row once.
    pub fn test_rows(&self, stage: usize) -> Result<Vec<Row>> {
        if self.manifest().tests == Tests::Cumulative.name() {
            return self.rows(stage, Split::Test);
        }
        let mut rows = Vec::new();
        for task in 0..=stage {
            rows.extend(self.rows(task, Split::Test)?);
        }
        let mut known = BTreeSet::new();
        rows.retain(|row| known.insert(row.id.clone()));
        Ok(rows)
    }

    /// Tokenises rows.
    pub fn tokenised(&self, rows: &[Row], tokenizer: &WordTokenizer) -> Result<Vec<Example>> {
        rows.par_iter().map(|row| Example::new(row, tokenizer, self.max_length)).collect()
    }

    /// Every word of the training files, sorted and unique (the vocabulary of a built-in encoder).
    pub fn training_words(&self) -> Result<Vec<String>> {
        let mut words = BTreeSet::new();
        for task in 0..self.tasks() {
            words.extend(self.rows(task, Split::Train)?.into_iter().flat_map(|row| row.tokens));
        }
        Ok(words.into_iter().collect())
    }

    /// The tokenised training rows of a task, with labels of the tasks up to it.
    pub fn training(&self, task: usize, tokenizer: &WordTokenizer) -> Result<Vec<Example>> {
        let seen = self.seen(task);
        let rows = self.tokenised(&self.rows(task, Split::Train)?, tokenizer)?;
        Ok(rows.into_iter().map(|row| row.within(&seen.allowed)).collect())
    }

    /// The labels seen after learning tasks `0..=stage`.
    pub fn seen(&self, stage: usize) -> Seen {
        let labels = self.manifest().label_set();
        Seen { stage, allowed: labels.known_after(stage), current: labels.trained_in(stage) }
    }
}
