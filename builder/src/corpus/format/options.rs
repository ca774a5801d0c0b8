//! The keys of a `[corpus]` table that say how files are laid out. `splits/README.md` explains every key.

use toml::{Table, Value};

use super::sentence::Field;
use super::value::FieldPath;
use crate::error::hint;

/// A key of a `[corpus]` table at fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyError {
    /// Name of the key that the error is about, e.g. `tag_column`.
    pub key: String,
    /// What is wrong with it, and what was expected.
    pub reason: String,
}

impl KeyError {
    /// Makes an error about a key.
    pub(super) fn new(key: &str, reason: impl Into<String>) -> Self {
        Self { key: key.to_owned(), reason: reason.into() }
    }
}

/// A value of a table, or the key at fault.
pub(super) type Keyed<T> = Result<T, KeyError>;

/// The keys of a table with typed access.
pub(super) struct Options(Table);

impl Options {
    /// Checks that a table has only keys that `format` knows.
    pub(super) fn new(format: &str, table: Table, known: &[&str]) -> Keyed<Self> {
        let Some(key) = table.keys().find(|key| !known.contains(&key.as_str())) else { return Ok(Self(table)) };
        let hint = hint(key, known.iter().copied());
        let rest = match known {
            [] => "it has no keys of its own".to_owned(),
            known => format!("its keys are {}", known.join(", ")),
        };
        Err(KeyError::new(key, format!("unknown key of the format `{format}`{hint}; {rest}")))
    }

    /// Returns whether the table has a key.
    pub(super) fn has(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    fn get<T>(&self, key: &str, expected: &str, read: impl Fn(&Value) -> Option<T>) -> Keyed<Option<T>> {
        let Some(value) = self.0.get(key) else { return Ok(None) };
        let wrong = || KeyError::new(key, format!("expected {expected}, found {}", value.type_str()));
        read(value).map(Some).ok_or_else(wrong)
    }

    /// Returns the text of a key, which must not be empty.
    pub(super) fn text(&self, key: &str) -> Keyed<Option<String>> {
        let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        self.get(key, "a text that is not empty", text)
    }

    /// Returns the whole number that a key has.
    pub(super) fn integer(&self, key: &str) -> Keyed<Option<i64>> {
        self.get(key, "a whole number", Value::as_integer)
    }

    /// Returns the path of the field that a key names.
    pub(super) fn field(&self, key: &str) -> Keyed<Option<FieldPath>> {
        let field = |value: &Value| value.as_str().filter(|name| !name.is_empty()).map(FieldPath::new);
        self.get(key, "the name of a field", field)
    }

    /// Returns the list of texts that a key has.
    pub(super) fn texts(&self, key: &str) -> Keyed<Option<Vec<String>>> {
        self.get(key, "a list of texts", texts)
    }

    /// Returns the paths of the one or two fields that a key names.
    pub(super) fn fields(&self, key: &str) -> Keyed<Option<Vec<FieldPath>>> {
        let fields = |value: &Value| {
            let names = value.as_str().map(|name| vec![name.to_owned()]).or_else(|| texts(value))?;
            let named = (1..=2).contains(&names.len()) && names.iter().all(|name| !name.is_empty());
            named.then(|| names.iter().map(|name| FieldPath::new(name)).collect())
        };
        self.get(key, "the name of a field, or a list of two", fields)
    }

    /// Returns what stands for one of several names.
    pub(super) fn choice<T: Copy>(&self, key: &str, choices: &[(&str, T)]) -> Keyed<Option<T>> {
        let Some(name) = self.text(key)? else { return Ok(None) };
        chosen(&name, choices).map(Some).map_err(|reason| KeyError::new(key, reason))
    }
}

fn texts(value: &Value) -> Option<Vec<String>> {
    value.as_array()?.iter().map(|item| item.as_str().map(str::to_owned)).collect()
}

/// Returns what stands for a name.
///
/// # Errors
/// It is unknown; the message lists the names.
pub(super) fn chosen<T: Copy>(name: &str, choices: &[(&str, T)]) -> Field<T> {
    let found = choices.iter().find(|(known, _)| *known == name).map(|(_, choice)| *choice);
    let names = || choices.iter().map(|(name, _)| *name);
    let unknown =
        || format!("unknown value `{name}`{}; known: {}", hint(name, names()), names().collect::<Vec<_>>().join(", "));
    found.ok_or_else(unknown)
}
