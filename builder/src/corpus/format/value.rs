//! Records as trees of values, whatever they were written in: JSON, Python literals or Parquet.

use std::collections::HashSet;
use std::fmt;

use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// A value of a record. Objects keep the order of their keys.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) enum Value {
    /// `null`, `None`, or a missing value of a column.
    #[default]
    Null,
    Bool(bool),
    /// A whole number that fits into 64 bits.
    Int(i64),
    /// A number with a fraction, or too large for [`Value::Int`].
    Float(f64),
    Text(String),
    List(Vec<Self>),
    Object(Vec<(String, Self)>),
}

impl Value {
    /// Returns what it is, for messages.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Bool(_) => "true or false",
            Self::Int(_) => "a whole number",
            Self::Float(_) => "a fraction",
            Self::Text(_) => "text",
            Self::List(_) => "a list",
            Self::Object(_) => "an object",
        }
    }

    /// Returns the value of a key, if it is an object that has the key.
    fn get(&self, key: &str) -> Option<&Self> {
        let Self::Object(entries) = self else { return None };
        entries.iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Int(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(i64::try_from(value).map_or(Value::Float(value as f64), Value::Int))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut object: Vec<(String, Value)> = Vec::new();
        let mut seen = SeenKeys::default();
        while let Some(key) = entries.next_key::<String>()? {
            if seen.has(&object, &key) {
                return Err(Error::custom(given_twice(&key)));
            }
            object.push((key, entries.next_value()?));
        }
        Ok(Value::Object(object))
    }
}

/// The keys of an object as far as it has been read. The few keys of an ordinary record need no set.
#[derive(Default)]
pub(super) struct SeenKeys(HashSet<String>);

impl SeenKeys {
    /// Returns whether an object, to which keys were added one by one, has a key.
    pub(super) fn has(&mut self, object: &[(String, Value)], key: &str) -> bool {
        const FEW: usize = 16;
        if object.len() < FEW {
            return object.iter().any(|(known, _)| known == key);
        }
        if self.0.is_empty() {
            self.0.extend(object.iter().map(|(known, _)| known.clone()));
        }
        !self.0.insert(key.to_owned())
    }
}

/// Says that an object has a key twice, where other readers would silently take one of the two.
pub(super) fn given_twice(key: &str) -> String {
    format!("key `{key}` is given twice; keep one")
}

/// Where a field stands in a record: a key, or keys joined by dots for objects within objects. A number chooses from a
/// list, counted from 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FieldPath(pub(super) String);

impl FieldPath {
    /// Makes a path of its text.
    pub(super) fn new(path: &str) -> Self {
        Self(path.to_owned())
    }

    /// Returns the value at this place.
    ///
    /// # Errors
    /// There is none; the message lists the keys of the record.
    pub(super) fn find<'v>(&self, record: &'v Value) -> Result<&'v Value, String> {
        let steps = steps(record, &self.0).ok_or_else(|| self.missing(record))?;
        steps.into_iter().try_fold(record, child).ok_or_else(|| self.missing(record))
    }

    /// Returns the value at this place and leaves [`Value::Null`] behind.
    ///
    /// # Errors
    /// There is no such value; the message is that of [`FieldPath::find`].
    pub(super) fn take(&self, record: &mut Value) -> Result<Value, String> {
        let steps = steps(record, &self.0).ok_or_else(|| self.missing(record))?;
        Ok(steps.into_iter().try_fold(record, child_mut).map_or(Value::Null, std::mem::take))
    }

    fn missing(&self, record: &Value) -> String {
        const SHOWN: usize = 10;
        let Value::Object(entries) = record else { return format!("expected an object, found {}", record.kind()) };
        let keys: Vec<&str> = entries.iter().take(SHOWN).map(|(key, _)| key.as_str()).collect();
        let more = match entries.len().saturating_sub(SHOWN) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        format!("missing key `{}`; the record has {}{more}", self.0, keys.join(", "))
    }
}

/// Takes a path apart into the keys that lead to its value. A key that contains dots itself goes before one within an
/// object.
fn steps<'p>(value: &Value, path: &'p str) -> Option<Vec<&'p str>> {
    if child(value, path).is_some() {
        return Some(vec![path]);
    }
    path.match_indices('.').find_map(|(dot, _)| {
        let key = &path[..dot];
        let mut steps = steps(child(value, key)?, &path[dot + 1..])?;
        steps.insert(0, key);
        Some(steps)
    })
}

fn child<'v>(value: &'v Value, key: &str) -> Option<&'v Value> {
    match value {
        Value::List(items) => items.get(key.parse::<usize>().ok()?),
        object => object.get(key),
    }
}

fn child_mut<'v>(value: &'v mut Value, key: &str) -> Option<&'v mut Value> {
    match value {
        Value::List(items) => items.get_mut(key.parse::<usize>().ok()?),
        Value::Object(entries) => entries.iter_mut().find(|(name, _)| name == key).map(|(_, value)| value),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Value {
        let object = |entries: Vec<(&str, Value)>| {
            Value::Object(entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
        };
        let span = Value::List(vec![Value::Int(0), Value::Int(2)]);
        object(vec![
            ("a.b", Value::Int(1)),
            ("h", object(vec![("pos", span)])),
            ("a", object(vec![("c", Value::Null)])),
        ])
    }

    #[test]
    fn paths_lead_through_objects_and_lists() {
        let mut record = record();
        for (path, value) in [("a.b", Value::Int(1)), ("h.pos.1", Value::Int(2)), ("a.c", Value::Null)] {
            assert_eq!(FieldPath::new(path).find(&record), Ok(&value), "{path}");
            assert_eq!(FieldPath::new(path).take(&mut record), Ok(value), "{path}");
            assert_eq!(FieldPath::new(path).find(&record), Ok(&Value::Null), "{path}");
        }
        for path in ["b", "h.pos.2", "h.pos.x", "a.b.c", ""] {
            let error = FieldPath::new(path).find(&record).unwrap_err();
            assert_eq!(error, format!("missing key `{path}`; the record has a.b, h, a"));
            assert_eq!(FieldPath::new(path).take(&mut record), Err(error));
        }
        assert_eq!(
            FieldPath::new("a").find(&Value::Int(1)),
            Err("expected an object, found a whole number".to_owned())
        );
    }
}
