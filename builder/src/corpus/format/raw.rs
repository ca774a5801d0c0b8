//! What a parser is given, and what it returns.

use std::path::Path;

use crate::corpus::types::Instance;
use crate::error::Result;

/// A corpus file to parse.
#[derive(Debug, Clone, Copy)]
pub struct RawFile<'a> {
    /// Path of the file, for messages.
    pub path: &'a Path,
    /// The bytes of the file, with any line endings.
    pub bytes: &'a [u8],
    /// The classes that its rows may have.
    pub classes: &'a [String],
    /// The corpus's name for "no class".
    pub none: &'a str,
}

/// The records of a file in order: each one parsed, or the error that spoils it.
pub type Records = Vec<Result<Instance>>;
