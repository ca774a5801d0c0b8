//! Corpora whose rows a program makes in memory.

use std::sync::Arc;

use super::format::{Format, Parsed, RawFile};
use super::read::{Corpus, RecordCounts};
use super::spec::{CorpusReference, CorpusSpec, PictureFolders, SplitFiles};
use super::types::{Extraction, Instance, Split};
use crate::error::{Error, Result};

/// Stands for the format of a corpus that has no files.
#[derive(Debug)]
struct InMemory;

impl Format for InMemory {
    fn parse(&self, file: &RawFile<'_>) -> Result<Parsed> {
        Err(Error::dataset(file.path, "belongs to a corpus whose rows are made in memory"))
    }
}

impl Corpus {
    /// Makes a corpus of training, validation and test rows. Its classes are those that occur, sorted by name; every field
    /// of the result may be changed before it is built. Rows are numbered by their place.
    pub fn from_rows(name: &str, task: Extraction, rows: [Vec<Instance>; 3]) -> Self {
        let spec = CorpusSpec {
            name: name.to_owned(),
            about: format!("{name}, made in memory."),
            task,
            files: Split::ALL.map(|_| SplitFiles::All(Vec::new())),
            format: Arc::new(InMemory),
            classes: Vec::new(),
            class_ids: None,
            none: None,
            pictures: PictureFolders::default(),
            reference: CorpusReference {
                origin: name.to_owned(),
                homepage: String::new(),
                citation: String::new(),
                license: None,
                language: "en".to_owned(),
                version: None,
                published: None,
            },
        };
        let [train, validation, test] = rows.map(|rows| {
            let numbered = rows.into_iter().enumerate();
            numbered.map(|(row, instance)| Instance { row, line: row + 1, ..instance }).collect()
        });
        let sources = Vec::new();
        let mut corpus = Self {
            spec,
            classes: Vec::new(),
            train,
            validation,
            test,
            notes: Vec::new(),
            sources,
            skipped: Vec::new(),
            records: [RecordCounts::default(); 3],
            lost: Vec::new(),
        };
        corpus.classes = corpus.classes_in_use(&[]);
        corpus
    }
}
