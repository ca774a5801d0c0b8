//! What every record has, whatever is marked in it: words, and perhaps a picture and an id.

use super::value::{FieldPath, Value};
use crate::corpus::words::Words;

/// A value, or why a record does not have it.
pub(super) type Field<T> = Result<T, String>;

/// Where the words of a record are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum WordField {
    /// The field has a list of words.
    Tokens(FieldPath),
    /// The field has a text, which is split at white space.
    Text(FieldPath),
}

impl WordField {
    /// Returns the field that has the words.
    pub(super) fn path(&self) -> &FieldPath {
        match self {
            Self::Tokens(path) | Self::Text(path) => path,
        }
    }

    /// Takes the words of a record.
    fn take(&self, record: &mut Value) -> Field<Words> {
        let path = self.path();
        let words = match (self, path.take(record)?) {
            (Self::Tokens(_), Value::List(items)) => {
                items.iter().map(|item| word(path, item)).collect::<Field<Words>>()?
            }
            (Self::Text(_), Value::Text(text)) => split(&text),
            (Self::Tokens(_), other) => return Err(wrong(path, "a list of words", &other)),
            (Self::Text(_), other) => return Err(wrong(path, "text", &other)),
        };
        if words.is_empty() { Err(format!("`{}` is empty", path.0)) } else { Ok(words) }
    }
}

/// Splits a text where Python's `str.split()` does: at white space, and at the separators of ASCII.
fn split(text: &str) -> Words {
    let blank = |c: char| c.is_whitespace() || ('\x1c'..='\x1f').contains(&c);
    text.split(blank).filter(|word| !word.is_empty()).collect()
}

fn word<'v>(path: &FieldPath, item: &'v Value) -> Field<&'v str> {
    match item {
        Value::Text(word) => Ok(word),
        other => Err(format!("`{}`: expected a list of words, found {} in it", path.0, other.kind())),
    }
}

/// Says that the value of a field is of another kind than expected.
pub(super) fn wrong(path: &FieldPath, expected: &str, found: &Value) -> String {
    format!("`{}`: expected {expected}, found {}", path.0, found.kind())
}

/// Returns the text of a field.
pub(super) fn text(path: &FieldPath, record: &Value) -> Field<String> {
    match path.find(record)? {
        Value::Text(text) => Ok(text.clone()),
        other => Err(wrong(path, "text", other)),
    }
}

/// The fields of what every record has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SentenceFields {
    pub(super) words: WordField,
    /// The file name of the picture.
    pub(super) image: Option<FieldPath>,
    /// The corpus's own name for the row: text or a whole number.
    pub(super) id: Option<FieldPath>,
}

/// The words, picture and id of a record.
#[derive(Debug)]
pub(super) struct Sentence {
    pub(super) tokens: Words,
    pub(super) image: Option<String>,
    pub(super) id: Option<String>,
}

impl SentenceFields {
    /// Reads a record, and takes the words out of it.
    pub(super) fn take(&self, record: &mut Value) -> Field<Sentence> {
        let image = self.image.as_ref().map(|path| text(path, record)).transpose()?;
        if image.as_ref().is_some_and(|image| image.trim().is_empty()) {
            return Err("the name of the picture is empty".to_owned());
        }
        let id = self.id.as_ref().map(|path| id(path, record)).transpose()?;
        Ok(Sentence { tokens: self.words.take(record)?, image, id })
    }

    /// Returns the fields that are read.
    pub(super) fn paths(&self) -> impl Iterator<Item = &FieldPath> {
        [Some(self.words.path()), self.image.as_ref(), self.id.as_ref()].into_iter().flatten()
    }
}

fn id(path: &FieldPath, record: &Value) -> Field<String> {
    match path.find(record)? {
        Value::Text(id) => Ok(id.clone()),
        Value::Int(id) => Ok(id.to_string()),
        other => Err(wrong(path, "text or a whole number", other)),
    }
}
