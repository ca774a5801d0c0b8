//! Corpora that a protocol describes in a `[corpus]` table. `splits/README.md` explains its keys.

use toml::{Table, Value};

use super::spec::{CorpusReference, CorpusSpec, PictureFolders, SplitFiles};
use super::types::{Extraction, Split};
use super::{CORPORA, format};
use crate::error::{Error, Result};
use crate::files::stays_inside;

impl CorpusSpec {
    /// Makes what is known of a corpus from a `[corpus]` table. Keys that are not general belong to the format.
    ///
    /// # Errors
    /// A key is missing, unknown to the format or of the wrong type; the name is that of a known corpus. Messages name the
    /// key.
    pub fn from_table(table: &Table) -> Result<Self> {
        let mut keys = Keys { table: table.clone() };
        let name = keys.required("name")?;
        if CORPORA.iter().any(|spec| spec().name == name) {
            let reason = format!("`{name}` is a known corpus; write `corpus = \"{name}\"`, or choose another name");
            return Err(Error::protocol("corpus.name", reason));
        }
        let format_name = keys.required("format")?;
        let files = keys.files()?;
        let classes = keys.list("classes")?.unwrap_or_default();
        let class_ids = keys.text("class_ids")?;
        check_inside("class_ids", class_ids.as_slice())?;
        if class_ids.is_some() && !classes.is_empty() {
            return Err(wrong("class_ids", "stands beside `classes`; give one of them"));
        }
        let none = keys.text("none")?;
        let images = keys.texts("images")?.unwrap_or_default();
        check_inside("images", &images)?;
        let reference = keys.reference(&name)?;
        let format = format::from_table(&format_name, keys.table).map_err(|error| wrong(&error.key, &error.reason))?;
        if none.is_some() && format.kind == Extraction::Entities {
            let reason = "is for relations; an entity type that means no class goes into `drop`, and its tags become O";
            return Err(wrong("none", reason));
        }
        let none = none.or_else(|| format.none.map(str::to_owned));
        if let Some(none) = none.as_ref().filter(|none| classes.contains(none)) {
            return Err(Error::protocol("corpus.classes", format!("lists `{none}`, which `none` names as no class")));
        }
        Ok(Self {
            about: format!("{name}, described by its protocol."),
            name,
            task: format.kind,
            files,
            format: format.format,
            classes,
            class_ids,
            none,
            pictures: PictureFolders { images, crops: Vec::new() },
            reference,
        })
    }
}

/// The keys of the table that are left; each is taken out as it is read.
struct Keys {
    table: Table,
}

impl Keys {
    fn text(&mut self, key: &str) -> Result<Option<String>> {
        match self.table.remove(key) {
            None => Ok(None),
            Some(Value::String(text)) if !text.trim().is_empty() => Ok(Some(text)),
            Some(Value::String(_)) => Err(wrong(key, "is empty")),
            Some(other) => Err(wrong(key, &format!("must be a text, not {}", type_name(&other)))),
        }
    }

    fn required(&mut self, key: &str) -> Result<String> {
        self.text(key)?.ok_or_else(|| wrong(key, "missing; a `[corpus]` table needs `name`, `format` and `train`"))
    }

    /// Takes a text or a list of texts.
    fn texts(&mut self, key: &str) -> Result<Option<Vec<String>>> {
        let Some(Value::Array(items)) = self.table.get(key) else {
            return Ok(self.text(key)?.map(|text| vec![text]));
        };
        let text = |item: &Value| match item {
            Value::String(text) => Ok(text.clone()),
            other => Err(wrong(key, &format!("must be a list of texts; it contains {}", type_name(other)))),
        };
        let texts = items.iter().map(text).collect::<Result<Vec<_>>>()?;
        self.table.remove(key);
        Ok(Some(texts))
    }

    /// Takes a list of texts.
    fn list(&mut self, key: &str) -> Result<Option<Vec<String>>> {
        match self.table.get(key) {
            Some(Value::Array(_)) | None => self.texts(key),
            Some(other) => Err(wrong(key, &format!("must be a list of texts, not {}", type_name(other)))),
        }
    }

    /// Takes the names of the files of each split.
    fn files(&mut self) -> Result<[SplitFiles; 3]> {
        let mut files = Split::ALL.map(|_| SplitFiles::All(Vec::new()));
        for split in Split::ALL {
            let names = self.texts(split.name())?.unwrap_or_default();
            if split == Split::Train && names.is_empty() {
                return Err(wrong("train", "missing: name the file of the training rows, or a list of files"));
            }
            check_inside(split.name(), &names)?;
            files[split as usize] = SplitFiles::All(names);
        }
        Ok(files)
    }

    fn reference(&mut self, name: &str) -> Result<CorpusReference> {
        Ok(CorpusReference {
            origin: name.to_owned(),
            homepage: self.text("homepage")?.unwrap_or_default(),
            citation: self.text("citation")?.unwrap_or_default(),
            license: self.text("license")?,
            language: self.text("language")?.unwrap_or_else(|| "en".to_owned()),
            version: self.text("version")?,
            published: self.date()?,
        })
    }

    /// Takes the date, as a TOML date or as text.
    fn date(&mut self) -> Result<Option<String>> {
        if let Some(Value::Datetime(date)) = self.table.get("date") {
            let date = date.date.ok_or_else(|| wrong("date", "must be a date such as 2020-01-31, not a time"))?;
            self.table.remove("date");
            return Ok(Some(date.to_string()));
        }
        self.text("date")
    }
}

/// Checks that names of files or folders do not lead out of the corpus folder.
fn check_inside(key: &str, names: &[String]) -> Result<()> {
    match names.iter().find(|name| !stays_inside(name)) {
        Some(outside) => Err(wrong(key, &format!("`{outside}` leaves the corpus folder"))),
        None => Ok(()),
    }
}

fn wrong(key: &str, reason: &str) -> Error {
    Error::protocol(format!("corpus.{key}"), reason)
}

/// Returns what a TOML value is, for messages.
fn type_name(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "a text",
        Value::Integer(_) | Value::Float(_) => "a number",
        Value::Boolean(_) => "true or false",
        Value::Datetime(_) => "a date",
        Value::Array(_) => "a list",
        Value::Table(_) => "a table",
    }
}
