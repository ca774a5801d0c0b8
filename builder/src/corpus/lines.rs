//! Lines of a text file with their numbers; LF or CRLF, an optional byte-order mark, UTF-8 checked line by line.

use std::path::Path;

use crate::error::{Error, Result};

/// `(1-based number, line without its ending)`; a line that is not UTF-8 is an error in its place.
pub fn lines<'a>(file: &'a Path, bytes: &'a [u8]) -> impl Iterator<Item = (usize, Result<&'a str>)> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    (1..).zip(bytes.split(|byte| *byte == b'\n')).map(move |(number, line)| {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let text = std::str::from_utf8(line).map_err(|error| {
            Error::corpus(file, number, format!("invalid UTF-8 at byte {} of the line", error.valid_up_to() + 1))
        });
        (number, text)
    })
}
