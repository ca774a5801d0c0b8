//! Text files, which are UTF-8 with or without a byte order mark.

use std::path::Path;

use super::rows::Collector;
use crate::error::Result;

/// Collects the rows of a text file with the parser of its format.
///
/// # Errors
/// The file cannot be read.
pub fn read(path: &Path, rows: &mut Collector<'_>, parse: impl Fn(&str, &mut Collector<'_>)) -> Result<()> {
    match decode(fs_err::read(path)?) {
        Ok(text) => parse(&text, rows),
        Err(reason) => rows.unreadable(&reason),
    }
    Ok(())
}

/// Returns the text without a byte order mark, or what is wrong with its encoding.
fn decode(bytes: Vec<u8>) -> std::result::Result<String, String> {
    if bytes.starts_with(&[0xFF, 0xFE]) || bytes.starts_with(&[0xFE, 0xFF]) {
        return Err("is UTF-16; write it as UTF-8".to_owned());
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(text.strip_prefix('\u{FEFF}').map(str::to_owned).unwrap_or(text)),
        Err(error) => {
            let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            let line = 1 + valid.iter().filter(|byte| **byte == b'\n').count();
            Err(format!("line {line} is not UTF-8; write the file with the encoding UTF-8"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_utf_8_with_or_without_a_mark() {
        assert_eq!(decode(b"\xEF\xBB\xBFid".to_vec()), Ok("id".to_owned()));
        assert_eq!(decode("id é".into()), Ok("id é".to_owned()));
        assert!(decode(b"\xFF\xFEi\0d\0".to_vec()).is_err_and(|error| error.contains("UTF-16")));
        assert!(decode(b"id\n\nx\xE9\n".to_vec()).is_err_and(|error| error.starts_with("line 3 is not UTF-8")));
    }
}
