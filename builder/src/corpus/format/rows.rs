//! Turns records into the rows of a corpus, whatever they were written in.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

use super::entities::{EntityFields, Marked, Marks};
use super::json::{LineDamage, Piece};
use super::raw::{Parsed, RawFile, Records};
use super::relations::{RelationFields, SharedNames, label};
use super::scheme::{SchemeSurvey, types_of};
use super::sentence::{Field, Sentence};
use super::spans::Tally;
use super::value::{FieldPath, Value};
use crate::bio::Tags;
use crate::corpus::types::{Annotation, Extraction, Instance};
use crate::corpus::words::Words;
use crate::error::{Error, Result};

/// The fields of a record: which ones there are depends on what is extracted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum RowFields {
    Relations(RelationFields),
    Entities(EntityFields),
}

/// Reads the records of one file.
pub(super) struct RowReader<'a> {
    fields: &'a RowFields,
    file: &'a RawFile<'a>,
    tally: Tally,
    names: SharedNames,
    /// The classes of damaged records; rows are read in parallel.
    damaged_classes: Mutex<BTreeSet<String>>,
}

impl RowFields {
    /// Returns whether relations or entities are extracted.
    pub(super) fn kind(&self) -> Extraction {
        match self {
            Self::Relations(_) => Extraction::Relations,
            Self::Entities(_) => Extraction::Entities,
        }
    }

    /// Returns the fields that are read; a field may come twice.
    pub(super) fn paths(&self) -> Vec<&FieldPath> {
        match self {
            Self::Relations(fields) => fields.paths().collect(),
            Self::Entities(fields) => fields.paths().collect(),
        }
    }

    /// Returns the field with the picture of a row.
    pub(super) fn image(&self) -> Option<&FieldPath> {
        match self {
            Self::Relations(fields) => fields.sentence.image.as_ref(),
            Self::Entities(fields) => fields.sentence.image.as_ref(),
        }
    }

    /// Returns the field with the class of a row, and the names of classes that are given as numbers.
    pub(super) fn class_field(&self) -> (Option<&FieldPath>, &[String]) {
        match self {
            Self::Relations(fields) => (Some(&fields.relation), &fields.labels),
            Self::Entities(fields) => match &fields.marks {
                Marks::Tags { path, .. } => (Some(path), &fields.labels),
                Marks::Spans(_) => (None, &fields.labels),
            },
        }
    }

    /// Returns the classes that names of labels declare: relations, or the types of tags.
    pub(super) fn declared(&self, labels: &[String]) -> Vec<String> {
        match self {
            Self::Relations(_) => labels.to_vec(),
            Self::Entities(_) => types_of(labels),
        }
    }

    fn take(&self, record: &mut Value, file: &RawFile<'_>, tally: &Tally, names: &SharedNames) -> Field<Record> {
        let (sentence, annotation, tags) = match self {
            Self::Relations(fields) => {
                let (sentence, annotation) = fields.take(record, file, tally, names)?;
                (sentence, annotation, None)
            }
            Self::Entities(fields) => match fields.take(record, file)? {
                (sentence, Marked::Tags(tags)) => (sentence, Annotation::Entities(tags), None),
                (sentence, Marked::Raw(tags)) => (sentence, Annotation::Entities(Tags::default()), Some(tags)),
            },
        };
        let Sentence { tokens, image, id } = sentence;
        let image = image.map(Into::into);
        let id = id.map(Into::into);
        Ok(Record { row: Instance { row: 0, line: 0, id, tokens, image, annotation }, tags })
    }
}

/// A record that was read.
pub(super) struct Record {
    row: Instance,
    /// Its tags, if they are still to be brought to BIO: their scheme is that of the whole file.
    tags: Option<Words>,
}

impl<'a> RowReader<'a> {
    /// Makes a reader of the records of `file`.
    pub(super) fn new(fields: &'a RowFields, file: &'a RawFile<'a>) -> Self {
        Self { fields, file, tally: Tally::default(), names: SharedNames::default(), damaged_classes: Mutex::default() }
    }

    /// Reads the record with number `row` (from 0), which begins at `line` (from 1).
    pub(super) fn read(
        &self,
        row: usize,
        line: usize,
        record: std::result::Result<Value, LineDamage>,
    ) -> Result<Record> {
        let mut fields = record.map_err(|damage| damage.at(self.file.path))?;
        let record = self.fields.take(&mut fields, self.file, &self.tally, &self.names).map_err(|reason| {
            self.note_class(&fields);
            Error::corpus(self.file.path, line, reason)
        })?;
        Ok(Record { row: Instance { row, line, ..record.row }, ..record })
    }

    /// Notes the relation of a damaged record.
    fn note_class(&self, record: &Value) {
        let RowFields::Relations(fields) = self.fields else { return };
        let relation = fields.relation.find(record).and_then(|value| label(&fields.relation, value, &fields.labels));
        if let Ok(Some(relation)) = relation
            && relation != self.file.none
            && self.file.accepts(relation)
        {
            let mut classes = self.damaged_classes.lock().unwrap_or_else(PoisonError::into_inner);
            classes.insert(relation.to_owned());
        }
    }

    /// Reads records that are lines, in parallel; the first one has the number `first`.
    pub(super) fn read_lines<'t>(
        &self,
        first: usize,
        lines: Vec<(usize, Result<&'t str>)>,
        parse: impl Fn(Piece<'t>) -> std::result::Result<Value, LineDamage> + Sync,
    ) -> Vec<Result<Record>> {
        let read = |(i, (line, text)): (usize, (usize, Result<&'t str>))| {
            let text = text?;
            self.read(first + i, line, parse(Piece { line, text }))
        };
        lines.into_par_iter().enumerate().map(read).collect()
    }

    /// Reads records that are pieces of a JSON text, in parallel; the first one has the number `first`.
    pub(super) fn read_pieces<'t>(
        &self,
        first: usize,
        pieces: &[Piece<'t>],
        parse: impl Fn(Piece<'t>) -> std::result::Result<Value, LineDamage> + Sync,
    ) -> Vec<Result<Record>> {
        let read = |(i, piece): (usize, &Piece<'t>)| {
            let number = first + i;
            self.read(number, piece.line, parse(*piece)).map_err(|error| of_record(error, number + 1))
        };
        pieces.par_iter().enumerate().map(read).collect()
    }

    /// Ends a file: brings tags to BIO and collects what was noticed. `classes` are those that the file declares.
    ///
    /// # Errors
    /// The tags are of no known scheme.
    pub(super) fn finish(self, collected: Collected, classes: Vec<String>) -> Result<Parsed> {
        let Collected { mut records, tags } = collected;
        let mut notes = self.tally.notes();
        let stated = match self.fields {
            RowFields::Entities(EntityFields { marks: Marks::Tags { scheme, .. }, .. }) => *scheme,
            _ => None,
        };
        let survey = survey(&tags);
        if let Some(doubt) = survey.doubt().filter(|_| stated.is_none()) {
            return Err(Error::corpus(self.file.path, 1, doubt));
        }
        let scheme = stated.unwrap_or_else(|| survey.scheme());
        let mut changed = 0;
        for (index, tags) in tags {
            let Ok(row) = &mut records[index] else { continue };
            match scheme.to_bio(tags.iter(), self.file) {
                Ok(converted) => {
                    changed += converted.changed;
                    row.annotation = Annotation::Entities(converted.tags);
                }
                Err((word, reason)) => {
                    let token = row.tokens.get(word).unwrap_or_default();
                    let reason = format!("word {} (`{token}`): {reason}", word + 1);
                    records[index] = Err(Error::corpus(self.file.path, row.line, reason));
                }
            }
        }
        notes.extend(scheme.note(stated.is_some(), changed));
        let damaged_classes = self.damaged_classes.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok(Parsed { records, classes, notes, damaged_classes: damaged_classes.into_iter().collect() })
    }
}

/// Says which record of a list an error is about: all of them may be in one line.
fn of_record(error: Error, number: usize) -> Error {
    match error {
        Error::Corpus { file, line, reason } => {
            Error::Corpus { file, line, reason: format!("{reason} (record {number} of the file)") }
        }
        other => other,
    }
}

/// The records of a file so far. Tags that are still to be brought to BIO lie apart, so that the rows need not be moved.
#[derive(Default)]
pub(super) struct Collected {
    records: Records,
    tags: Vec<(usize, Words)>,
}

impl Collected {
    /// Returns the number of records.
    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    /// Adds records in order.
    pub(super) fn extend(&mut self, records: Vec<Result<Record>>) {
        for record in records {
            let row = record.map(|Record { row, tags }| {
                self.tags.extend(tags.map(|tags| (self.records.len(), tags)));
                row
            });
            self.records.push(row);
        }
    }
}

fn survey(tags: &[(usize, Words)]) -> SchemeSurvey {
    let mut survey = SchemeSurvey::default();
    for (_, tags) in tags {
        let mut before = None;
        for tag in tags.iter() {
            survey.add(tag, before);
            before = Some(tag);
        }
    }
    survey
}
