//! Records of entity corpora: a tag for each word, or a list of spans with types.

use std::ops::Range;

use super::raw::RawFile;
use super::relations::label;
use super::scheme::Scheme;
use super::sentence::{Field, Sentence, SentenceFields, wrong};
use super::spans::{SpanEnd, between, whole};
use super::value::{FieldPath, Value};
use crate::bio::{OUTSIDE, Tag, Tags};
use crate::corpus::words::Words;

/// How a record marks its entities.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Marks {
    /// A list with the tag of each word; the scheme is found out per file if it is not stated.
    Tags { path: FieldPath, scheme: Option<Scheme> },
    /// A list of spans with their types.
    Spans(SpanList),
}

/// The entities that a record marks.
#[derive(Debug)]
pub(super) enum Marked {
    /// Tags as they are written: their scheme is that of the whole file.
    Raw(Words),
    /// Tags that are BIO already, made of spans.
    Tags(Tags),
}

/// A list of entities, each an object or a list of start, end and type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SpanList {
    pub(super) path: FieldPath,
    pub(super) span_end: SpanEnd,
    /// The keys of an entity that is an object: start, end and type.
    pub(super) keys: [FieldPath; 3],
}

/// The fields of an entity record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct EntityFields {
    pub(super) sentence: SentenceFields,
    pub(super) marks: Marks,
    /// The names of tags or types that are given as numbers, by number.
    pub(super) labels: Vec<String>,
}

impl EntityFields {
    /// Reads a record, and takes the words out of it.
    pub(super) fn take(&self, record: &mut Value, file: &RawFile<'_>) -> Field<(Sentence, Marked)> {
        let sentence = self.sentence.take(record)?;
        let words = sentence.tokens.len();
        let marked = match &self.marks {
            Marks::Tags { path, .. } => Marked::Raw(self.tags(path, path.find(record)?, words)?),
            Marks::Spans(spans) => {
                let within = |reason| format!("in `{}`: {reason}", spans.path.0);
                let mut entities = Vec::new();
                for item in items(&spans.path, spans.path.find(record)?)? {
                    let entity = spans.entity(&item, words, &self.labels)?;
                    file.check_class("entity type", &entity.1).map_err(within)?;
                    entities.push(entity);
                }
                Marked::Tags(tags_of(&entities, words).map_err(within)?)
            }
        };
        Ok((sentence, marked))
    }

    fn tags(&self, path: &FieldPath, value: &Value, words: usize) -> Field<Words> {
        let Value::List(items) = value else { return Err(wrong(path, "a list of tags", value)) };
        if items.len() != words {
            return Err(format!("`{}` has {} tags for {words} words", path.0, items.len()));
        }
        let tag = |item| label(path, item, &self.labels)?.ok_or_else(|| format!("`{}`: a tag is missing", path.0));
        items.iter().map(tag).collect()
    }

    /// Returns the fields that are read.
    pub(super) fn paths(&self) -> impl Iterator<Item = &FieldPath> {
        let (Marks::Tags { path, .. } | Marks::Spans(SpanList { path, .. })) = &self.marks;
        self.sentence.paths().chain([path])
    }
}

impl SpanList {
    /// Reads the words and the type of an entity in a sentence of `words` words.
    fn entity(&self, item: &Value, words: usize, labels: &[String]) -> Field<(Range<usize>, String)> {
        let within = |reason| format!("in `{}`: {reason}", self.path.0);
        let [start, end, class] = match item {
            Value::List(parts) if parts.len() == 3 => ["0", "1", "2"].map(FieldPath::new),
            Value::Object(_) => self.keys.clone(),
            other => {
                return Err(wrong(&self.path, "an object or a list of start, end and type for each entity", other));
            }
        };
        let number = |key: &FieldPath| whole(key, key.find(item)?).map_err(within);
        let range = between(&self.path.0, [number(&start)?, number(&end)?], self.span_end, words)?;
        let class = class.find(item).and_then(|value| label(&class, value, labels)).map_err(within)?;
        let class = class.ok_or_else(|| within("an entity has no type".to_owned()))?;
        // Other prefixes of schemes begin names of types, such as `E-mail`.
        if class == OUTSIDE || ["B-", "I-"].iter().any(|prefix| class.starts_with(prefix)) {
            return Err(within(format!("the type `{class}` is a tag; expected the type alone, and no span for `O`")));
        }
        Ok((range, class.to_owned()))
    }
}

/// Makes the tags of a sentence of its entities.
fn tags_of(entities: &[(Range<usize>, String)], words: usize) -> Field<Tags> {
    let mut tags = vec![Tag::Outside; words];
    for (range, class) in entities {
        if tags[range.clone()].iter().any(|tag| *tag != Tag::Outside) {
            let words = format!("words {} to {}", range.start, range.end - 1);
            return Err(format!("the {class} entity of {words} overlaps another; a word can have one tag only"));
        }
        tags[range.clone()].fill(Tag::Inside(class));
        tags[range.start] = Tag::Begin(class);
    }
    Tags::from_tags(tags)
}

/// Returns the entities of a record. `datasets` stores lists of objects as an object of lists, which is turned round.
fn items(path: &FieldPath, value: &Value) -> Field<Vec<Value>> {
    let expected = "a list of spans with types";
    let columns = match value {
        Value::List(items) => return Ok(items.clone()),
        Value::Object(columns) => columns,
        other => return Err(wrong(path, expected, other)),
    };
    let mut items: Vec<Vec<(String, Value)>> = Vec::new();
    for (i, (key, column)) in columns.iter().enumerate() {
        let Value::List(values) = column else { return Err(wrong(path, expected, value)) };
        if i == 0 {
            items.resize_with(values.len(), Vec::new);
        }
        if values.len() != items.len() {
            return Err(format!("the lists in `{}` have different lengths", path.0));
        }
        for (item, value) in items.iter_mut().zip(values) {
            item.push((key.clone(), value.clone()));
        }
    }
    Ok(items.into_iter().map(Value::Object).collect())
}
