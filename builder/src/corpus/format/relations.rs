//! Records of relation corpora: which fields have the two mentions and the relation between them.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use super::raw::RawFile;
use super::sentence::{Field, Sentence, SentenceFields, text, wrong};
use super::spans::{SpanEnd, SpanField, Tally, joined};
use super::value::{FieldPath, Value};
use crate::corpus::types::{Annotation, Mention, Relation};
use crate::corpus::words::Words;
use crate::error::hint;

/// Where a record has a mention.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MentionFields {
    pub(super) span: SpanField,
    /// The text of the mention, which must equal its words.
    pub(super) name: Option<FieldPath>,
}

/// The fields of a relation record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RelationFields {
    pub(super) sentence: SentenceFields,
    pub(super) head: MentionFields,
    pub(super) tail: MentionFields,
    pub(super) span_end: SpanEnd,
    /// Whether names must be the words joined by blanks; otherwise case and blanks do not count, as in FewRel, whose
    /// names are in lower case and not split into words.
    pub(super) exact_names: bool,
    pub(super) relation: FieldPath,
    /// The names of relations that are given as numbers, by number.
    pub(super) labels: Vec<String>,
}

impl RelationFields {
    /// Reads a record, and takes the words out of it.
    pub(super) fn take(
        &self,
        record: &mut Value,
        file: &RawFile<'_>,
        tally: &Tally,
        names: &SharedNames,
    ) -> Field<(Sentence, Annotation)> {
        let sentence = self.sentence.take(record)?;
        let head = self.mention(&self.head, record, &sentence.tokens, tally)?;
        let tail = self.mention(&self.tail, record, &sentence.tokens, tally)?;
        let relation = label(&self.relation, self.relation.find(record)?, &self.labels)?;
        let relation = relation.filter(|relation| *relation != file.none).map(|relation| names.share(relation));
        if let Some(relation) = &relation {
            file.check_class("relation", relation)?;
        }
        Ok((sentence, Annotation::Relation(Box::new(Relation { head, tail, relation }))))
    }

    fn mention(&self, fields: &MentionFields, record: &Value, words: &Words, tally: &Tally) -> Field<Mention> {
        let span = fields.span.read(record, self.span_end, words.len(), tally)?;
        let name = match &fields.name {
            Some(path) => self.checked_name(path, text(path, record)?, &span.text(words))?,
            None => joined(words, span.range.clone()),
        };
        Ok(Mention { name: name.into(), start: span.range.start, end: span.range.end })
    }

    /// Checks that the name of a mention is that of its words.
    fn checked_name(&self, path: &FieldPath, name: String, words: &str) -> Field<String> {
        let letters = |text: &str| -> String {
            text.split_whitespace().flat_map(str::chars).flat_map(char::to_lowercase).collect()
        };
        let equal = if self.exact_names { name == words } else { letters(&name) == letters(words) };
        if equal { Ok(name) } else { Err(format!("`{}` is `{name}`, but the words of its span are `{words}`", path.0)) }
    }

    /// Returns the fields that are read.
    pub(super) fn paths(&self) -> impl Iterator<Item = &FieldPath> {
        let mentions = [&self.head, &self.tail];
        let mentions = mentions.into_iter().flat_map(|mention| mention.span.paths().chain(&mention.name));
        self.sentence.paths().chain(mentions).chain([&self.relation])
    }
}

/// The names of the relations of a file: a million rows need not hold a million names.
#[derive(Default)]
pub(super) struct SharedNames(Mutex<BTreeSet<Arc<str>>>);

impl SharedNames {
    fn share(&self, name: &str) -> Arc<str> {
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = names.get(name) {
            return Arc::clone(known);
        }
        let name: Arc<str> = name.into();
        names.insert(Arc::clone(&name));
        name
    }
}

/// Returns the name of a label that is given by name or number; `None` for a null. Unless `labels` is empty, a name must be
/// one of them.
pub(super) fn label<'v>(path: &FieldPath, value: &'v Value, labels: &'v [String]) -> Field<Option<&'v str>> {
    match value {
        Value::Null => Ok(None),
        Value::Text(name) if name.is_empty() => Err(format!("`{}` is empty", path.0)),
        Value::Text(name) if labels.is_empty() || labels.contains(name) => Ok(Some(name)),
        Value::Text(name) => {
            let names = labels.iter().map(String::as_str);
            Err(format!("`{}` is `{name}`, which `labels` does not list{}", path.0, hint(name, names)))
        }
        Value::Int(-1) => Err(format!("`{}` is -1, which stands for a label that is not given away", path.0)),
        Value::Int(number) => match usize::try_from(*number).ok().and_then(|number| labels.get(number)) {
            Some(name) => Ok(Some(name)),
            None => Err(format!("`{}`: no name is known for number {number}; list the names in `labels`", path.0)),
        },
        other => Err(wrong(path, "a name or a number", other)),
    }
}
