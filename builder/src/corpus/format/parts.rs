//! Reads a file in parts of whole lines, so that a large one is never in memory beside its rows.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use super::lines::lines_from;
use crate::error::Result;

/// Bytes of a part, but for the rest of its last line: enough for all threads to have work.
const SIZE: u64 = 4 << 20;

/// The parts of a file in order.
pub struct Parts<'a> {
    from: Box<dyn BufRead + 'a>,
    size: u64,
    next_line: usize,
}

/// Some lines of a file.
pub struct Part {
    /// The bytes of the lines with their endings; the last line of a file may have none.
    pub bytes: Vec<u8>,
    first_line: usize,
}

impl Part {
    /// Returns each line with its number in the file, from 1, or an error if it is not UTF-8.
    pub fn lines<'p>(&'p self, path: &'p Path) -> impl Iterator<Item = (usize, Result<&'p str>)> {
        lines_from(path, &self.bytes, self.first_line)
    }
}

impl<'a> Parts<'a> {
    /// Reads the parts of a file on disk, which is not compressed.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn open(path: &Path) -> Result<Parts<'static>> {
        Ok(Parts { from: Box::new(BufReader::new(fs_err::File::open(path)?)), size: SIZE, next_line: 1 })
    }

    /// Cuts bytes into parts.
    pub fn of(bytes: &'a [u8]) -> Self {
        Self { from: Box::new(bytes), size: SIZE, next_line: 1 }
    }

    fn read(&mut self) -> Result<Option<Part>> {
        let mut bytes = Vec::new();
        self.from.by_ref().take(self.size).read_to_end(&mut bytes)?;
        if bytes.last().is_some_and(|byte| *byte != b'\n') {
            self.from.read_until(b'\n', &mut bytes)?;
        }
        let first_line = self.next_line;
        self.next_line += memchr::memchr_iter(b'\n', &bytes).count();
        Ok((!bytes.is_empty()).then_some(Part { bytes, first_line }))
    }
}

impl Iterator for Parts<'_> {
    type Item = Result<Part>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read().transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_the_same_however_the_file_is_cut() {
        let path = Path::new("a");
        for text in ["", "\n", "a", "\u{feff}a\n\nbc\r\n", "a\n\u{feff}b\n\n", "\u{feff}", "é\nü"] {
            let whole: Vec<_> =
                lines_from(path, text.as_bytes(), 1).map(|(n, line)| (n, line.unwrap().to_owned())).collect();
            for size in 1..9 {
                let mut found = Vec::new();
                for part in (Parts { size, ..Parts::of(text.as_bytes()) }) {
                    found.extend(part.unwrap().lines(path).map(|(n, line)| (n, line.unwrap().to_owned())));
                }
                let expected = if text.is_empty() { &[] } else { &whole[..] };
                assert_eq!(found, expected, "{text:?} by {size}");
            }
        }
    }
}
