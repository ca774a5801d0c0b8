//! Which corpus a protocol cuts.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use toml::{Table, Value};

use crate::corpus::{self, CorpusSpec};
use crate::error::{Error, Result};

/// The corpus of a protocol: a known one by its name, or one that the protocol describes.
#[derive(Debug, Clone, PartialEq)]
pub enum CorpusChoice {
    /// The name of one of [`corpus::CORPORA`], or of a corpus that the library is given.
    Named(String),
    /// The `[corpus]` table that describes the corpus.
    Described(Table),
}

impl CorpusChoice {
    /// Returns the name of the corpus; empty if a table lacks it.
    pub fn name(&self) -> &str {
        match self {
            Self::Named(name) => name,
            Self::Described(table) => table.get("name").and_then(Value::as_str).unwrap_or_default(),
        }
    }

    /// Returns what is known of the corpus.
    ///
    /// # Errors
    /// No known corpus has this name, or the table has a wrong key.
    pub fn spec(&self) -> Result<CorpusSpec> {
        match self {
            Self::Named(name) => corpus::find(name).map_err(|reason| {
                let remedy = "describe another corpus in a `[corpus]` table";
                Error::protocol("corpus", format!("{reason}; {remedy}"))
            }),
            Self::Described(table) => CorpusSpec::from_table(table),
        }
    }
}

impl<'de> Deserialize<'de> for CorpusChoice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::String(name) => Ok(Self::Named(name)),
            Value::Table(table) => Ok(Self::Described(table)),
            _ => Err(D::Error::custom("`corpus` must be the name of a corpus, or a table that describes one")),
        }
    }
}
