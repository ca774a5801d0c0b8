//! What a format is given, and what it returns.

use std::fmt;
use std::path::Path;

use super::parts::Parts;
use crate::corpus::types::Instance;
use crate::error::{Result, hint};

/// How the files of a corpus are laid out: turns the bytes of a file into rows.
pub trait Format: fmt::Debug + Send + Sync {
    /// Parses the records of a file in order.
    ///
    /// # Errors
    /// The file as a whole is not of this format. What spoils a single record is in [`Parsed::records`].
    fn parse(&self, file: &RawFile<'_>) -> Result<Parsed>;

    /// Parses a file as [`Format::parse`] does, but from parts of whole lines; the bytes of `file` are empty. A format that
    /// can do that spares the memory for a large file. By default it cannot, and the answer is none.
    fn parse_parts(&self, _file: &RawFile<'_>, _parts: Parts<'_>) -> Option<Result<Parsed>> {
        None
    }

    /// Returns the pictures that a file contains, with the names by which its rows call them. By default a file
    /// contains none.
    ///
    /// # Errors
    /// The file cannot be read.
    fn pictures(&self, _path: &Path) -> Result<Option<ContainedPictures>> {
        Ok(None)
    }
}

/// Names and bytes of the pictures that a corpus file contains, in the order of its rows.
pub type ContainedPictures = Box<dyn Iterator<Item = Result<(String, Vec<u8>)>>>;

/// A corpus file to parse.
#[derive(Debug, Clone, Copy)]
pub struct RawFile<'a> {
    /// Path of the file, for messages.
    pub path: &'a Path,
    /// The bytes of the file, decompressed, with any line endings.
    pub bytes: &'a [u8],
    /// The classes that its rows may have; every class if empty.
    pub classes: &'a [String],
    /// The corpus's name for "no class"; empty if every row has a class.
    pub none: &'a str,
}

impl RawFile<'_> {
    /// Returns whether rows may have a class.
    pub fn accepts(&self, class: &str) -> bool {
        self.classes.is_empty() || self.classes.iter().any(|known| known == class)
    }

    /// Checks that rows may have a class; `noun` is what messages call it.
    ///
    /// # Errors
    /// They may not; the message lists the classes.
    pub fn check_class(&self, noun: &str, class: &str) -> std::result::Result<(), String> {
        if self.accepts(class) {
            return Ok(());
        }
        let hint = hint(class, self.classes.iter().map(String::as_str));
        Err(format!("unknown {noun} `{class}`{hint}; known: {}", self.classes.join(", ")))
    }
}

/// What a format has read from a file.
#[derive(Debug, Default)]
pub struct Parsed {
    /// The records in order: each one a row, or the error that spoils it.
    pub records: Records,
    /// The classes that the file declares, in its order; empty if the format declares none.
    pub classes: Vec<String>,
    /// What was changed on the way and how often, as sentences for the summary and the dataset card.
    pub notes: Vec<String>,
    /// The classes that damaged records name, as far as they can be read. A class without an intact row is lost if damaged
    /// records are left out.
    pub damaged_classes: Vec<String>,
}

/// The records of a file in order: each one parsed, or the error that spoils it.
pub type Records = Vec<Result<Instance>>;

impl From<Records> for Parsed {
    fn from(records: Records) -> Self {
        Self { records, ..Self::default() }
    }
}
