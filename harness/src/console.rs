//! Text for people and for pipes. Whoever reads it may have gone (`| head`) or have no room (`/dev/full`): that never ends
//! a command in a panic, and never changes what it writes to files.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};

use crate::error::{Error, Result};

/// Writes a line to stderr. A line that nobody can read is dropped, because the work that it tells of goes on.
pub fn note(line: impl Display) {
    let line = format!("{line}\n");
    io::stderr().lock().write_all(line.as_bytes()).ok();
}

/// Returns a count with its noun, such as `1 run` or `2 runs`; the plural must end in a plain `s`.
pub fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// Writes text to stdout. A reader that has closed its end has read what it wanted, which is no error.
///
/// # Errors
/// The text cannot be written, e.g. because the disk is full.
pub fn print(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        Err(error) => {
            let reason = match error.kind() {
                ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "the disk is full".to_owned(),
                _ => error.to_string(),
            };
            Err(Error::Usage(format!("stdout cannot be written: {reason}; send it to another place")))
        }
    }
}
