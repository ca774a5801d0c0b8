//! Splits a text file into numbered lines. Accepts LF and CRLF endings and a byte-order mark, and checks UTF-8 line by
//! line, so that one bad line does not spoil the others.

use std::path::Path;

use crate::error::{Error, Result};

/// Returns each line with its number from 1 and without its ending, or an error if it is not UTF-8.
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
