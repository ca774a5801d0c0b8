//! JSON lines: one object per line, with the numbers that Python's `json` writes though JSON lacks them.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::{Map, Value};

use super::cell::Cell;
pub(crate) use super::cell::shortened;
use super::columns::{self, Cells};
use super::rows::Collector;
use crate::external::problems::RowPlace;

/// Collects the rows of a text of JSON lines. The first object says which columns there are.
pub fn read(text: &str, rows: &mut Collector<'_>) {
    if text.trim_start().starts_with('[') {
        let remedy = "write one object per line (in pandas: `to_json(path, orient=\"records\", lines=True)`)";
        return rows.unreadable(&format!("is a JSON list; {remedy}"));
    }
    let mut first = true;
    for (i, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let place = RowPlace::Line(i + 1);
        match object(line) {
            Ok(object) => {
                if std::mem::take(&mut first) {
                    let names: Vec<&str> = object.keys().map(String::as_str).collect();
                    if let Err(reason) = columns::check(&names, rows.stage_given()) {
                        return rows.unreadable(&reason);
                    }
                }
                rows.add(place, &Cells::new(|name| object.get(name).map_or(Cell::Missing, cell)));
            }
            Err(kind) => rows.damaged(place, kind, &format!("`{}`", shortened(line))),
        }
    }
}

/// An object, in which each key is given once.
struct UniqueKeys(Map<String, Value>);

impl<'de> Deserialize<'de> for UniqueKeys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Map<String, Value>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
                let mut object = Map::new();
                while let Some((key, value)) = entries.next_entry::<String, Value>()? {
                    if object.insert(key, value).is_some() {
                        return Err(A::Error::custom(TWICE));
                    }
                }
                Ok(object)
            }
        }

        deserializer.deserialize_map(Object).map(Self)
    }
}

const TWICE: &str = "lines that give a key twice";

/// Parses a line that holds one object; `NaN` is read as null.
///
/// # Errors
/// What such lines have in common, with the remedy.
pub(crate) fn object(line: &str) -> Result<Map<String, Value>, &'static str> {
    match serde_json::from_str(&without_python_numbers(line)) {
        Ok(UniqueKeys(object)) => Ok(object),
        Err(error) if error.to_string().starts_with(TWICE) => Err(TWICE),
        Err(error) if error.is_data() => Err("lines that are JSON but no object"),
        Err(_) if line.trim_start().starts_with("{'") => {
            Err("lines in single quotes, as Python prints a dictionary (write what `json.dumps` returns)")
        }
        Err(error) if error.is_eof() => Err("lines that end within an object (write each object on one line)"),
        Err(_) => Err("lines that are not JSON"),
    }
}

/// Returns a line of JSON without `NaN`, which becomes null, and `Infinity`, which becomes 1e39: infinite as a score, which
/// has 32 bits.
fn without_python_numbers(line: &str) -> Cow<'_, str> {
    if !line.contains("NaN") && !line.contains("Infinity") {
        return line.into();
    }
    let mut json = String::with_capacity(line.len() + 16);
    let mut rest = line;
    // Texts are passed as they are.
    while let Some(start) = rest.find('"') {
        let (outside, text) = rest.split_at(start);
        json += &replaced(outside);
        let (text, after) = text.split_at(end_of_text(text));
        json += text;
        rest = after;
    }
    (json + &replaced(rest)).into()
}

fn replaced(outside: &str) -> String {
    outside.replace("NaN", "null").replace("Infinity", "1e39")
}

/// Returns where a text ends that begins with its opening quote.
fn end_of_text(text: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            b'"' if !escaped => return at + 1,
            _ => escaped = byte == b'\\' && !escaped,
        }
    }
    text.len()
}

/// Makes the cell of a value.
pub(crate) fn cell(value: &Value) -> Cell {
    match value {
        Value::Null => Cell::Missing,
        Value::Number(number) => number.as_f64().map_or(Cell::Other, Cell::number),
        Value::String(text) => Cell::text(text),
        Value::Array(values) => Cell::List(values.iter().map(cell).collect()),
        Value::Bool(_) | Value::Object(_) => Cell::Other,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn numbers_that_only_python_writes_are_read_outside_of_texts() {
        let line = r#"{"id": "NaN \"Infinity\" \\", "scores": [NaN, -Infinity, Infinity, 0.5], "stage": NaN}"#;
        let object = object(line).unwrap();
        assert_eq!(cell(&object["id"]), Cell::Text(r#"NaN "Infinity" \"#.to_owned()));
        let (none, infinite) = (f32::NEG_INFINITY, f32::INFINITY);
        assert_eq!(cell(&object["scores"]).scores().unwrap(), [none, none, infinite, 0.5]);
        assert_eq!(cell(&object["stage"]).stage(), Ok(None));
        assert!(matches!(without_python_numbers(r#"{"id": 1}"#), Cow::Borrowed(_)));
    }

    #[test]
    fn lines_that_are_no_objects_are_told_apart() {
        let kind = |line: &str| object(line).unwrap_err();
        assert!(kind("{'id': 1}").contains("json.dumps"));
        assert!(kind("{").contains("end within an object"));
        assert!(kind("3").contains("no object"));
        assert_eq!(kind("{\"id\": nan}"), "lines that are not JSON");
        assert_eq!(kind("{\"id\": 1} x"), "lines that are not JSON");
    }
}
