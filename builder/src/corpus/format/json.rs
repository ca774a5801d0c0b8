//! JSON in corpus files: finds the records of a file with the lines where they begin, and parses them.
//!
//! Records are found first, without building anything, and parsed one by one afterwards: damage within a record spoils
//! only this record, and no second copy of a large file is held.

use std::collections::HashSet;
use std::path::Path;

use memchr::memchr_iter;
use serde::de::IgnoredAny;
use serde_json::error::Category;

use super::lines::NO_UTF8;
use super::value::{Value, given_twice};
use crate::error::Error;
use crate::plain::without_bom;

/// Damage in a text: the line at fault, from 1, and what is wrong.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LineDamage {
    pub(super) line: usize,
    pub(super) reason: String,
}

impl LineDamage {
    /// Makes an error of damage in the file `path`.
    pub(super) fn at(self, path: &Path) -> Error {
        Error::corpus(path, self.line, self.reason)
    }
}

/// A piece of a JSON text, not parsed yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece<'a> {
    /// The line where it begins, from 1.
    pub(super) line: usize,
    pub(super) text: &'a str,
}

impl Piece<'_> {
    /// Parses the piece into a tree of values.
    ///
    /// # Errors
    /// It is not JSON, or an object in it has a key twice.
    pub(super) fn parse(self) -> Result<Value, LineDamage> {
        serde_json::from_str(self.text).map_err(|error| damage(&error, self.line))
    }
}

/// Returns the text of a file without its byte-order mark.
///
/// # Errors
/// It is not UTF-8.
pub(super) fn text(bytes: &[u8]) -> Result<&str, LineDamage> {
    let bytes = without_bom(bytes);
    std::str::from_utf8(bytes).map_err(|error| LineDamage {
        line: 1 + memchr_iter(b'\n', &bytes[..error.valid_up_to()]).count(),
        reason: format!("invalid UTF-8; {NO_UTF8}"),
    })
}

/// Returns the elements of a text that is a JSON array.
///
/// # Errors
/// The text is not an array of JSON values.
pub(super) fn elements(text: &str) -> Result<Vec<Piece<'_>>, LineDamage> {
    let mut cursor = Cursor::new(text);
    let elements = cursor.array()?;
    cursor.end()?;
    Ok(elements)
}

/// Returns the keys of a text that is a JSON object of arrays, and the elements of each array.
///
/// # Errors
/// The text is not such an object, or it has a key twice.
pub(super) fn arrays_by_key(text: &str) -> Result<Vec<(String, Vec<Piece<'_>>)>, LineDamage> {
    let mut cursor = Cursor::new(text);
    let mut seen = HashSet::new();
    let mut arrays = Vec::new();
    cursor.expect('{')?;
    while cursor.another(arrays.is_empty(), '}')? {
        if !cursor.rest.starts_with('"') {
            return Err(cursor.wrong("a key in double quotes"));
        }
        let line = cursor.line;
        let key: String = serde_json::from_str(cursor.value()?.text).map_err(|error| damage(&error, line))?;
        if !seen.insert(key.clone()) {
            return Err(LineDamage { line, reason: given_twice(&key) });
        }
        cursor.expect(':')?;
        arrays.push((key, cursor.array()?));
    }
    cursor.end()?;
    Ok(arrays)
}

/// A place in a JSON text, between two tokens.
struct Cursor<'a> {
    rest: &'a str,
    line: usize,
}

impl<'a> Cursor<'a> {
    fn new(text: &'a str) -> Self {
        let mut cursor = Self { rest: text, line: 1 };
        cursor.skip_blanks();
        cursor
    }

    fn skip(&mut self, bytes: usize) {
        self.line += memchr_iter(b'\n', &self.rest.as_bytes()[..bytes]).count();
        self.rest = &self.rest[bytes..];
    }

    fn skip_blanks(&mut self) {
        self.skip(self.rest.len() - self.rest.trim_start_matches([' ', '\t', '\n', '\r']).len());
    }

    fn take(&mut self, mark: char) -> bool {
        let found = self.rest.starts_with(mark);
        if found {
            self.skip(mark.len_utf8());
            self.skip_blanks();
        }
        found
    }

    fn wrong(&self, expected: &str) -> LineDamage {
        let reason = match self.rest.chars().next() {
            Some(found) => format!("expected {expected}, found `{found}`"),
            None => format!("the file ends where {expected} should follow; it is cut off"),
        };
        LineDamage { line: self.line, reason }
    }

    fn expect(&mut self, mark: char) -> Result<(), LineDamage> {
        if self.take(mark) { Ok(()) } else { Err(self.wrong(&format!("`{mark}`"))) }
    }

    fn end(&self) -> Result<(), LineDamage> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.wrong("the end of the file")) }
    }

    /// Returns whether another element follows, or takes the closing bracket.
    fn another(&mut self, first: bool, close: char) -> Result<bool, LineDamage> {
        if self.take(close) {
            return Ok(false);
        }
        if !first && !self.take(',') {
            return Err(self.wrong(&format!("`,` or `{close}`")));
        }
        Ok(true)
    }

    fn array(&mut self) -> Result<Vec<Piece<'a>>, LineDamage> {
        let mut elements = Vec::new();
        self.expect('[')?;
        while self.another(elements.is_empty(), ']')? {
            elements.push(self.value()?);
        }
        Ok(elements)
    }

    /// Takes a value of any kind.
    fn value(&mut self) -> Result<Piece<'a>, LineDamage> {
        let mut stream = serde_json::Deserializer::from_str(self.rest).into_iter::<IgnoredAny>();
        match stream.next() {
            Some(Ok(_)) => {}
            Some(Err(error)) => return Err(damage(&error, self.line)),
            None => return Err(self.wrong("a value")),
        }
        let end = stream.byte_offset();
        let piece = Piece { line: self.line, text: &self.rest[..end] };
        self.skip(end);
        self.skip_blanks();
        Ok(piece)
    }
}

/// Says what is wrong with a text that begins at line `first`, in words of its own: serde's are about its code.
fn damage(error: &serde_json::Error, first: usize) -> LineDamage {
    let line = first + error.line().max(1) - 1;
    let place = format!(" at line {} column {}", error.line(), error.column());
    let message = error.to_string();
    let column = error.column();
    let reason = match error.classify() {
        Category::Data => message.strip_suffix(&place).unwrap_or(&message).to_owned(),
        Category::Eof => {
            "ends in the middle of a JSON value; the file is cut off, or a bracket or quote is missing".into()
        }
        _ if message.contains("surrogate") || message.contains("hex escape") => format!(
            "half a surrogate pair at column {column}: `\\ud800` to `\\udfff` stand for a character only in pairs; \
             write the character itself"
        ),
        _ if message.contains("control character") => {
            format!("a line break or control character within quotes at column {column}; write it as an escape, `\\n`")
        }
        _ if message.contains("recursion") => format!("lists or objects are nested too deeply at column {column}"),
        _ => format!("not JSON at column {column}"),
    };
    LineDamage { line, reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Value, String> {
        Piece { line: 1, text }.parse().map_err(|damage| format!("{}: {}", damage.line, damage.reason))
    }

    #[test]
    fn values_keep_the_order_of_their_keys_and_the_characters_behind_escapes() {
        let text = |text: &str| Value::Text(text.to_owned());
        let list = Value::List(vec![Value::Int(-1), Value::Float(0.5), Value::Null, Value::Bool(true), text("x")]);
        let value = parse(r#"{"b": [-1, 0.5, null, true, "x"], "a": "\ud83d\ude00\u00e9\n\/"}"#).unwrap();
        assert_eq!(value, Value::Object(vec![("b".into(), list), ("a".into(), text("😀é\n/"))]));
        assert_eq!(parse("18446744073709551615"), Ok(Value::Float(u64::MAX as f64)));
    }

    #[test]
    fn damage_is_named_in_plain_words() {
        for (text, message) in [
            (r#"{"a": 1, "b": 2, "a": 3}"#, "1: key `a` is given twice; keep one"),
            ("{\"h\":\n{\"a\": 1,\n\"a\": 3}}", "3: key `a` is given twice; keep one"),
            (r#"["\ud83d"]"#, "1: half a surrogate pair at column"),
            (r#"["\ude00"]"#, "1: half a surrogate pair at column"),
            (r#"["\ud83d\u0041"]"#, "1: half a surrogate pair at column"),
            ("[1", "1: ends in the middle of a JSON value"),
            ("", "1: ends in the middle of a JSON value"),
            ("{'a': 1}", "1: not JSON at column 2"),
            ("[NaN]", "1: not JSON at column 2"),
            ("[1] [2]", "1: not JSON at column 5"),
            ("[\"a\tb\"]", "1: a line break or control character within quotes"),
            (&"[".repeat(1000), "1: lists or objects are nested too deeply"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.starts_with(message), "{text}: {error}");
        }
    }

    #[test]
    fn elements_come_with_their_lines() {
        let pieces = elements(" [ {\"a\": \"]\"},\n\n 1 ,\n\"x\\\"\" ]\n").unwrap();
        let found: Vec<(usize, &str)> = pieces.iter().map(|piece| (piece.line, piece.text)).collect();
        assert_eq!(found, [(1, "{\"a\": \"]\"}"), (3, "1"), (4, "\"x\\\"\"")]);
        assert_eq!(elements("[]"), Ok(vec![]));
    }

    #[test]
    fn damage_within_an_element_leaves_the_others_intact() {
        let pieces = elements("[{\"a\": 1, \"a\": 2},\n[\"\\ud83d\"],\n3]").unwrap();
        let parsed: Vec<bool> = pieces.iter().map(|piece| piece.parse().is_ok()).collect();
        assert_eq!(parsed, [false, false, true]);
    }

    #[test]
    fn damage_of_the_whole_is_named_with_its_line() {
        for (json, line, message) in [
            ("{}", 1, "expected `[`, found `{`"),
            ("[1\n2]", 2, "expected `,` or `]`, found `2`"),
            ("[1,\n]", 2, "not JSON at column 1"),
            ("[1,\n", 2, "the file ends where a value should follow; it is cut off"),
            ("[1,\n{\"a\": ", 2, "ends in the middle of a JSON value"),
            ("[1]\n[2]", 2, "expected the end of the file, found `[`"),
            ("[1", 1, "the file ends where `,` or `]` should follow; it is cut off"),
        ] {
            let damage = elements(json).unwrap_err();
            assert_eq!(damage.line, line, "{json}: {damage:?}");
            assert!(damage.reason.starts_with(message), "{json}: {damage:?}");
        }
        assert_eq!(text(b"\xef\xbb\xbf[\n1\xff]").unwrap_err().line, 2);
        assert_eq!(text(b"\xef\xbb\xbf[1]"), Ok("[1]"));
    }

    #[test]
    fn an_object_of_arrays_keeps_its_order() {
        let arrays = arrays_by_key("{\"P6\": [1, 2],\n\"P\\u0037\": []}").unwrap();
        assert_eq!(arrays[0].0, "P6");
        assert_eq!(arrays[0].1.len(), 2);
        assert_eq!(arrays[1].0, "P7");
        for (text, line, message) in [
            ("[]", 1, "expected `{`, found `[`"),
            ("{\"a\": [],\n\"a\": []}", 2, "key `a` is given twice; keep one"),
            ("{\"a\": 1}", 1, "expected `[`, found `1`"),
            ("{1: []}", 1, "expected a key in double quotes"),
            ("{\"a\" []}", 1, "expected `:`, found `[`"),
        ] {
            let damage = arrays_by_key(text).unwrap_err();
            assert_eq!(damage.line, line, "{text}: {damage:?}");
            assert!(damage.reason.starts_with(message), "{text}: {damage:?}");
        }
    }
}
