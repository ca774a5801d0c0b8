//! Splits a text file into numbered lines. Accepts LF and CRLF endings and a byte-order mark, and checks UTF-8 line by
//! line, so that one bad line does not spoil the others.

use std::path::Path;

use crate::error::{Error, Result};
use crate::plain::without_bom;

/// What to do with a file in another encoding.
pub(super) const NO_UTF8: &str = "a file in another encoding must be converted first, for example with `iconv`";

/// Returns each line with its number from 1 and without its ending, or an error if it is not UTF-8.
pub fn lines<'a>(file: &'a Path, bytes: &'a [u8]) -> impl Iterator<Item = (usize, Result<&'a str>)> {
    lines_from(file, bytes, 1)
}

/// Returns the lines of a part of a file, whose first line has the number `first`.
pub fn lines_from<'a>(file: &'a Path, bytes: &'a [u8], first: usize) -> impl Iterator<Item = (usize, Result<&'a str>)> {
    let bytes = if first == 1 { without_bom(bytes) } else { bytes };
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    (first..).zip(bytes.split(|byte| *byte == b'\n')).map(move |(number, line)| {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let text = std::str::from_utf8(line).map_err(|error| {
            let byte = error.valid_up_to() + 1;
            Error::corpus(file, number, format!("invalid UTF-8 at byte {byte} of the line; {NO_UTF8}"))
        });
        (number, text)
    })
}
