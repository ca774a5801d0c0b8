//! Reads text, TOML and JSON, and says in plain words what is wrong with them: the line, the key, and what was expected.
//! Every text may begin with a byte-order mark.

use std::fmt;
use std::path::Path;

use serde::de::DeserializeOwned;

use crate::error::{Error, Result, hint};

/// Why a text cannot be read. It displays as `line 3: unknown key …`; [`Misread::key`] is for errors that show the key
/// themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misread {
    /// Number of the line at fault, from 1, if it is known.
    pub line: Option<usize>,
    /// The key at fault, such as `tasks[2].classes`; `None` if the text as a whole cannot be read.
    pub key: Option<String>,
    /// What is wrong, and what was expected.
    pub reason: String,
}

impl fmt::Display for Misread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        if let Some(key) = &self.key {
            write!(f, "`{key}`: ")?;
        }
        f.write_str(&self.reason)
    }
}

/// Returns the bytes of a text without the byte-order mark that some editors put first.
pub fn without_bom(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)
}

/// Returns bytes as text, without a byte-order mark.
///
/// # Errors
/// The bytes are not UTF-8.
pub fn text(bytes: &[u8]) -> std::result::Result<&str, Misread> {
    let bytes = without_bom(bytes);
    std::str::from_utf8(bytes).map_err(|error| {
        let line = 1 + memchr::memchr_iter(b'\n', &bytes[..error.valid_up_to()]).count();
        Misread { line: Some(line), key: None, reason: "is not UTF-8 text; save the file as UTF-8".to_owned() }
    })
}

/// Reads a value from TOML.
///
/// # Errors
/// The text is not TOML, or a key is missing, unknown or of another type.
pub fn toml<T: DeserializeOwned>(text: &str) -> std::result::Result<T, Misread> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let line = |error: &toml::de::Error| {
        let at = error.span()?.start.min(text.len());
        Some(1 + memchr::memchr_iter(b'\n', &text.as_bytes()[..at]).count())
    };
    let syntax = |error: toml::de::Error| Misread {
        line: line(&error),
        key: None,
        reason: format!("is not TOML: {}", plain_syntax(error.message())),
    };
    // A text that is no TOML is found first, since an error of the second kind has a key.
    toml::from_str::<toml::Table>(text).map_err(syntax)?;
    let reader = toml::Deserializer::parse(text).map_err(syntax)?;
    serde_path_to_error::deserialize(reader).map_err(|error| {
        let key = key_of(error.path());
        let inner = error.into_inner();
        // A key that is missing at the top is missing on no line.
        let line = line(&inner).filter(|_| key.is_some() || !inner.message().starts_with(MISSING));
        Misread { line, key, reason: plain(inner.message()) }
    })
}

/// Reads a value from a table of TOML, which has no lines.
///
/// # Errors
/// A key is missing, unknown or of another type.
pub fn table<T: DeserializeOwned>(table: toml::Table) -> std::result::Result<T, Misread> {
    serde_path_to_error::deserialize(table).map_err(|error| {
        let key = key_of(error.path());
        Misread { line: None, key, reason: plain(error.into_inner().message()) }
    })
}

/// Reads a value from JSON.
///
/// # Errors
/// The bytes are not JSON, or a key is missing, unknown or of another type.
pub fn json<T: DeserializeOwned>(bytes: &[u8]) -> std::result::Result<T, Misread> {
    let mut reader = serde_json::Deserializer::from_slice(without_bom(bytes));
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let key = key_of(error.path());
        misread(error.into_inner(), key)
    })?;
    reader.end().map_err(|error| misread(error, None))?;
    Ok(value)
}

fn misread(error: serde_json::Error, key: Option<String>) -> Misread {
    let line = Some(error.line()).filter(|line| *line > 0);
    if error.is_data() {
        let text = error.to_string();
        let message = text.rsplit_once(" at line ").map_or(text.as_str(), |(message, _)| message);
        return Misread { line, key, reason: plain(message) };
    }
    let reason = match (error.is_eof(), error.column()) {
        (true, _) => "is not JSON: the text ends too early".to_owned(),
        (false, column) => format!("is not JSON: see column {column}"),
    };
    Misread { line, key: None, reason }
}

/// Reads a JSON file of a benchmark folder.
///
/// # Errors
/// The file cannot be read or is not JSON, or a key is missing or of another type.
pub fn json_file<T: DeserializeOwned>(path: &Path) -> Result<T> {
    json(&fs_err::read(path)?).map_err(|misread| Error::dataset(path, misread.to_string()))
}

/// Returns the path of a key as people write it; `None` for the text as a whole.
fn key_of(path: &serde_path_to_error::Path) -> Option<String> {
    let known = |segment: &&serde_path_to_error::Segment| !matches!(segment, serde_path_to_error::Segment::Unknown);
    path.iter().next().filter(known)?;
    Some(path.to_string())
}

const MISSING: &str = "missing field `";

/// Says in plain words what serde says of a value that does not fit.
pub(crate) fn plain(message: &str) -> String {
    let named = |rest: &str| rest.split('`').next().unwrap_or_default().to_owned();
    if let Some(rest) = message.strip_prefix(MISSING) {
        return format!("key `{}` is missing", named(rest));
    }
    if let Some(rest) = message.strip_prefix("duplicate field `") {
        return format!("key `{}` is given twice", named(rest));
    }
    if let Some(rest) = message.strip_prefix("unknown field `") {
        return format!("unknown key {}", choices(&named(rest), rest));
    }
    if let Some(rest) = message.strip_prefix("unknown variant `") {
        return format!("unknown value {}", choices(&named(rest), rest));
    }
    if let Some((found, expected)) =
        message.strip_prefix("invalid type: ").or_else(|| message.strip_prefix("invalid value: ")).and_then(halves)
    {
        return format!("expected {}, found {}", plain_expected(expected), plain_found(found));
    }
    if let Some((found, expected)) = message.strip_prefix("invalid length ").and_then(halves) {
        return format!("expected {}, found {found} values", plain_expected(expected));
    }
    match message {
        "wanted string or table" => "expected text or a table".to_owned(),
        _ if message.starts_with("data did not match any variant") => {
            "has another type than the key takes, or an unknown key".to_owned()
        }
        _ => message.to_owned(),
    }
}

fn halves(text: &str) -> Option<(&str, &str)> {
    text.split_once(", expected ")
}

/// Returns `` `name` (did you mean …?); known: … `` from serde's list of the names that it expected.
fn choices(name: &str, rest: &str) -> String {
    let expected = rest.split_once(", expected ").map_or("", |(_, expected)| expected);
    let known: Vec<&str> = expected.split('`').skip(1).step_by(2).collect();
    if known.is_empty() {
        return format!("`{name}`");
    }
    format!("`{name}`{}; known: {}", hint(name, known.iter().copied()), known.join(", "))
}

fn plain_expected(expected: &str) -> String {
    if let Some(length) = expected.strip_prefix("an array of length ") {
        return format!("a list of {length} values");
    }
    let words = match expected {
        "a string" | "a borrowed string" | "string" => "text",
        "a sequence" => "a list",
        "a map" => "a table of keys and values",
        "a boolean" => "true or false",
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number that is not negative",
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
        "f32" | "f64" => "a number",
        "string or map" => "text or a table",
        _ if expected.starts_with("struct ") || expected.starts_with("internally tagged") => {
            "a table of keys and values"
        }
        _ if expected.starts_with("enum ") => "text",
        _ => expected,
    };
    words.to_owned()
}

fn plain_found(found: &str) -> String {
    let quoted = |kind: &str| Some(found.strip_prefix(kind)?.trim_matches('`').to_owned());
    if let Some(text) = found.strip_prefix("string ") {
        return format!("the text {text}");
    }
    if let Some(number) = quoted("integer ").or_else(|| quoted("floating point ")) {
        return format!("the number {number}");
    }
    match found {
        "sequence" => "a list".to_owned(),
        "map" => "a table".to_owned(),
        "unit value" | "null" => "nothing".to_owned(),
        _ => quoted("boolean ").unwrap_or_else(|| found.to_owned()),
    }
}

/// Says in plain words what the TOML parser says of a text.
fn plain_syntax(message: &str) -> String {
    match message.split_once(", expected ") {
        Some((wrong, "nothing")) => wrong.to_owned(),
        Some((wrong, expected)) => format!("{wrong}; expected {expected}"),
        None => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Recipe {
        name: String,
        #[serde(default)]
        steps: Vec<Step>,
        serves: Option<usize>,
        spicy: Option<bool>,
        heat: Option<Heat>,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Step {
        what: String,
        minutes: [u32; 2],
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Heat {
        Low,
        High,
    }

    #[test]
    fn a_byte_order_mark_is_skipped() {
        let soup = Recipe { name: "soup".to_owned(), steps: vec![], serves: None, spicy: None, heat: None };
        assert_eq!(toml::<Recipe>("\u{feff}name = \"soup\"").as_ref(), Ok(&soup));
        assert_eq!(json::<Recipe>("\u{feff}{\"name\": \"soup\"}".as_bytes()).as_ref(), Ok(&soup));
        assert_eq!(text("\u{feff}soup".as_bytes()), Ok("soup"));
        assert_eq!(text(b"so\nu\xffp").unwrap_err().to_string(), "line 2: is not UTF-8 text; save the file as UTF-8");
    }

    #[test]
    fn toml_is_refused_with_line_and_key_in_plain_words() {
        for (written, message) in [
            ("title = \"soup\"", "line 1: `title`: unknown key `title`; known: name, steps, serves, spicy, heat"),
            ("\nnam = \"soup\"", "line 2: `nam`: unknown key `nam` (did you mean `name`?); known:"),
            ("serves = 2", "key `name` is missing"),
            ("name = 3", "line 1: `name`: expected text, found the number 3"),
            ("name = [\"a\"]", "line 1: `name`: expected text, found a list"),
            (
                "name = \"a\"\nserves = -2",
                "line 2: `serves`: expected a whole number that is not negative, found the number -2",
            ),
            ("name = \"a\"\nspicy = \"no\"", "line 2: `spicy`: expected true or false, found the text \"no\""),
            ("name = \"a\"\nsteps = 1", "line 2: `steps`: expected a list, found the number 1"),
            (
                "name = \"a\"\n\n[[steps]]\nwhat = \"cut\"\nminutes = [1]",
                "line 5: `steps[0].minutes`: expected a list of 2 values, found 1 values",
            ),
            ("name = \"a\"\n[[steps]]\nminutes = [1, 2]", "line 2: `steps[0]`: key `what` is missing"),
            ("name = \"a\"\nheat = \"hi\"", "line 2: `heat`: unknown value `hi`"),
            ("name = \"a\"\nname = \"b\"", "line 2: is not TOML: duplicate key"),
            ("name = \"a\"\n[steps", "line 2: is not TOML: "),
            ("name = a", "line 1: is not TOML: "),
        ] {
            let error = toml::<Recipe>(written).unwrap_err().to_string();
            assert!(error.starts_with(message), "{written}: {error}");
            check_words(&error);
        }
    }

    #[test]
    fn a_table_is_refused_with_the_key() {
        let given: toml::Table = toml::from_str("name = \"a\"\nserves = -2").unwrap();
        let error = table::<Recipe>(given).unwrap_err().to_string();
        assert_eq!(error, "`serves`: expected a whole number that is not negative, found the number -2");
    }

    #[test]
    fn json_is_refused_with_line_and_key_in_plain_words() {
        for (written, message) in [
            ("{\"nam\": \"soup\"}", "line 1: `nam`: unknown key `nam` (did you mean `name`?); known:"),
            ("{}", "line 1: key `name` is missing"),
            ("{\"name\": null}", "line 1: `name`: expected text, found nothing"),
            (
                "{\"name\": \"a\",\n\"serves\": true}",
                "line 2: `serves`: expected a whole number that is not negative, found true",
            ),
            ("{\"name\": \"a\", \"steps\": [{\"what\": {}}]}", "line 1: `steps[0].what`: expected text, found a table"),
            ("[1]", "line 1: "),
            ("{\"name\"", "line 1: is not JSON: the text ends too early"),
            ("{\"name\": x}", "line 1: is not JSON: see column 10"),
            ("{\"name\": \"a\"} x", "line 1: is not JSON: see column 15"),
            ("", "line 1: is not JSON: the text ends too early"),
        ] {
            let error = json::<Recipe>(written.as_bytes()).unwrap_err().to_string();
            assert!(error.starts_with(message), "{written}: {error}");
            check_words(&error);
        }
    }

    fn check_words(message: &str) {
        for word in ["serde", "struct", "usize", "u32", "sequence", "field", "variant", "invalid type", "EOF"] {
            assert!(!message.contains(word), "{message}");
        }
    }
}
