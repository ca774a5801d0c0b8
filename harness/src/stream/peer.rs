//! The other end of the conversation: lines are read and written by threads, so that a client that says nothing or reads
//! nothing cannot hold mkgc up for longer than it may.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use serde::Serialize;

/// Bytes of the longest line that is read: one number for each of 80 labels and 20,000 test rows takes 30 MB.
pub const MAX_LINE: u64 = 64 << 20;

/// How long a client may leave a message unread if it has no other limit. One that writes requests and reads no replies
/// would otherwise wait for mkgc for ever, and mkgc for it.
const UNREAD: Duration = Duration::from_secs(3600);

/// Why no more can be said to a client or heard from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lost {
    /// The client closed its output.
    Closed,
    /// The client closed its input.
    Unread,
    /// The client said nothing for as long as it may.
    Silent(Duration),
    /// The client sent a line longer than [`MAX_LINE`].
    TooLong,
    /// The client sent a line that is not UTF-8.
    NotText,
    /// Its output cannot be read.
    Broken(String),
}

/// A client, known by the pipes to and from it.
pub struct Peer {
    lines: Receiver<Result<String, Lost>>,
    to_write: Option<SyncSender<Vec<u8>>>,
    written: Receiver<bool>,
    timeout: Option<Duration>,
}

impl Peer {
    /// Talks to a client that writes to `from` and reads from `to`. It may be silent for `timeout`; none is for ever.
    pub fn new(
        from: impl Read + Send + 'static,
        mut to: impl Write + Send + 'static,
        timeout: Option<Duration>,
    ) -> Self {
        let (line, lines) = sync_channel(1);
        thread::spawn(move || {
            let mut from = BufReader::new(from);
            // The other end is gone once the conversation is over.
            while let Some(read) = read_line(&mut from).transpose() {
                let failed = read.is_err();
                if line.send(read).is_err() || failed {
                    break;
                }
            }
        });
        let (to_write, messages) = sync_channel::<Vec<u8>>(1);
        let (done, written) = sync_channel(1);
        thread::spawn(move || {
            for message in messages {
                let fine = to.write_all(&message).and_then(|()| to.flush()).is_ok();
                if done.send(fine).is_err() || !fine {
                    break;
                }
            }
        });
        Self { lines, to_write: Some(to_write), written, timeout }
    }

    /// Sends a message and waits until it is written.
    ///
    /// # Errors
    /// The client does not read it.
    pub fn send(&self, message: &impl Serialize) -> Result<(), Lost> {
        let mut line = serde_json::to_vec(message).map_err(|error| Lost::Broken(error.to_string()))?;
        line.push(b'\n');
        let to_write = self.to_write.as_ref().ok_or(Lost::Unread)?;
        to_write.send(line).map_err(|_| Lost::Unread)?;
        match self.written.recv_timeout(self.timeout.unwrap_or(UNREAD)) {
            Ok(true) => Ok(()),
            Ok(false) | Err(RecvTimeoutError::Disconnected) => Err(Lost::Unread),
            Err(RecvTimeoutError::Timeout) => Err(Lost::Silent(self.timeout.unwrap_or(UNREAD))),
        }
    }

    /// Waits for the next line that is not empty.
    ///
    /// # Errors
    /// The client is silent for too long, has closed its output, or sends what is no line of text.
    pub fn receive(&self) -> Result<String, Lost> {
        match self.timeout {
            None => self.lines.recv().unwrap_or(Err(Lost::Closed)),
            Some(timeout) => match self.lines.recv_timeout(timeout) {
                Ok(line) => line,
                Err(RecvTimeoutError::Disconnected) => Err(Lost::Closed),
                Err(RecvTimeoutError::Timeout) => Err(Lost::Silent(timeout)),
            },
        }
    }

    /// Closes the client's input, from which it can tell that nothing more will come.
    pub fn close(&mut self) {
        self.to_write = None;
    }
}

/// Reads a line that is not empty; `None` at the end.
fn read_line(from: &mut impl BufRead) -> Result<Option<String>, Lost> {
    loop {
        let mut line = Vec::new();
        let broken = |error: io::Error| Lost::Broken(error.to_string());
        let read = from.by_ref().take(MAX_LINE).read_until(b'\n', &mut line).map_err(broken)?;
        if read == 0 {
            return Ok(None);
        }
        if read as u64 == MAX_LINE && line.last() != Some(&b'\n') {
            return Err(Lost::TooLong);
        }
        let line = String::from_utf8(line).map_err(|_| Lost::NotText)?;
        let line = line.trim();
        if !line.is_empty() {
            return Ok(Some(line.to_owned()));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn lines_are_read_with_and_without_a_break_at_the_end() {
        let peer = Peer::new(io::Cursor::new("a\r\n\n  b"), io::sink(), None);
        assert_eq!(
            (peer.receive(), peer.receive(), peer.receive()),
            (Ok("a".into()), Ok("b".into()), Err(Lost::Closed))
        );
    }

    #[test]
    fn what_is_no_line_of_text_ends_the_conversation() {
        let peer = Peer::new(io::Cursor::new(b"a\xff\n".to_vec()), io::sink(), None);
        assert_eq!(peer.receive(), Err(Lost::NotText));
        let endless = Peer::new(io::repeat(b'x'), io::sink(), None);
        assert_eq!(endless.receive(), Err(Lost::TooLong));
        assert_eq!(endless.receive(), Err(Lost::Closed));
    }

    #[test]
    fn a_silent_client_and_one_that_does_not_read_are_given_up() {
        let (silent, _keep) = io::pipe().unwrap();
        let (_unread, full) = io::pipe().unwrap();
        let short = Duration::from_millis(20);
        let peer = Peer::new(silent, full, Some(short));
        assert_eq!(peer.receive(), Err(Lost::Silent(short)));
        assert_eq!(peer.send(&"x".repeat(1 << 20)), Err(Lost::Silent(short)));
        let (gone, to) = io::pipe().unwrap();
        drop(gone);
        let mut peer = Peer::new(io::empty(), to, None);
        assert_eq!(peer.send(&"x"), Err(Lost::Unread));
        peer.close();
        assert_eq!(peer.send(&"x"), Err(Lost::Unread));
    }
}
