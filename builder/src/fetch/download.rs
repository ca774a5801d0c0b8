//! Downloads one file: from the first address that serves the published bytes, going on where an attempt was cut.

use std::io::{ErrorKind, Read};
use std::path::Path;

use ureq::Body;
use ureq::http::Response;
use ureq::http::header::CONTENT_RANGE;

use super::event::Event;
use super::network::Client;
use super::part::PartFile;
use crate::error::Error;
use crate::sources::PublishedFile;

/// How often a connection may be cut before the next address is tried.
const MOST_CUTS: usize = 20;

/// Bytes that are read at once.
const BUFFER: usize = 64 << 10;

/// What it takes to download one file.
pub(super) struct Download<'a> {
    pub(super) client: &'a Client,
    pub(super) file: &'a PublishedFile,
    pub(super) report: &'a dyn Fn(Event<'_>),
}

/// Why the bytes of a file do not come.
enum DownloadFailure {
    /// The connection was cut, so that asking for the rest may help.
    Cut(String),
    /// This address does not serve the file.
    Address(String),
    /// The disk is the reason, so that no other address helps.
    Disk(Error),
}

impl From<Error> for DownloadFailure {
    fn from(error: Error) -> Self {
        Self::Disk(error)
    }
}

impl Download<'_> {
    /// Downloads the file to `target`. Returns why each address failed, or `None` if the file is in its place.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn run(&self, addresses: &[String], target: &Path) -> crate::Result<Option<Vec<String>>> {
        let mut part = PartFile::open(target)?;
        let mut failures = Vec::new();
        for address in addresses {
            match self.complete(address, &mut part) {
                Ok(()) => {
                    part.install(target)?;
                    return Ok(None);
                }
                Err(DownloadFailure::Disk(error)) => {
                    part.leave().ok();
                    return Err(error);
                }
                Err(DownloadFailure::Cut(reason) | DownloadFailure::Address(reason)) => {
                    failures.push(format!("{address}: {reason}"));
                }
            }
        }
        part.leave()?;
        Ok(Some(failures))
    }

    /// Completes the part from one address, as long as each connection brings more of it.
    fn complete(&self, address: &str, part: &mut PartFile) -> Result<(), DownloadFailure> {
        let published = self.file.bytes;
        let mut furthest = part.length();
        let mut cuts = 0;
        loop {
            if part.length() > published {
                part.restart()?;
            }
            let start = part.length();
            (self.report)(Event::Start { file: self.file, address, start });
            match self.rest(address, part) {
                Err(DownloadFailure::Cut(_)) if part.length() > furthest && cuts < MOST_CUTS => {
                    furthest = part.length();
                    cuts += 1;
                    continue;
                }
                Err(DownloadFailure::Cut(reason)) => {
                    return Err(DownloadFailure::Cut(format!("{reason} after {} of {published} bytes", part.length())));
                }
                result => result?,
            }
            let sum = part.sha256()?;
            if sum == self.file.sha256 {
                return Ok(());
            }
            part.restart()?;
            // The beginning may have been another file's; bytes of one answer are what the address serves.
            if start == 0 {
                let reason =
                    format!("it serves other bytes: their SHA-256 is {sum}, published is {}", self.file.sha256);
                return Err(DownloadFailure::Address(reason));
            }
            furthest = 0;
        }
    }

    /// Reads what is missing of the part.
    fn rest(&self, address: &str, part: &mut PartFile) -> Result<(), DownloadFailure> {
        let published = self.file.bytes;
        if part.length() == published {
            return Ok(());
        }
        let mut response = self.answer(address, part)?;
        let mut reader = response.body_mut().as_reader();
        let mut buffer = vec![0; BUFFER];
        while part.length() < published {
            let read = match reader.read(&mut buffer) {
                Ok(0) => return Err(DownloadFailure::Cut("the connection was cut".to_owned())),
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(DownloadFailure::Cut(self.client.reason(&error.into()))),
            };
            if part.length() + read as u64 > published {
                part.restart()?;
                return Err(DownloadFailure::Address(format!(
                    "it serves more than the {published} bytes of the published file"
                )));
            }
            part.append(&buffer[..read])?;
            (self.report)(Event::Bytes { file: self.file, done: part.length() });
        }
        Ok(())
    }

    /// Asks for what is missing of the part, and forgets the part if all of the file comes.
    fn answer(&self, address: &str, part: &mut PartFile) -> Result<Response<Body>, DownloadFailure> {
        let mut response = self.client.get(address, part.length()).map_err(DownloadFailure::Address)?;
        // "Range not satisfiable": the server has fewer bytes than the part.
        if response.status() == 416 && part.length() > 0 {
            part.restart()?;
            response = self.client.get(address, 0).map_err(DownloadFailure::Address)?;
        }
        let status = response.status().as_u16();
        let (start, whole) = match status {
            200 => (0, response.body().content_length()),
            206 => content_range(&response).unwrap_or((u64::MAX, None)),
            404 | 410 => return Err(DownloadFailure::Address(format!("the file is not there (status {status})"))),
            _ => return Err(DownloadFailure::Address(format!("the server refuses it (status {status})"))),
        };
        let published = self.file.bytes;
        if let Some(bytes) = whole.filter(|bytes| *bytes != published) {
            let reason = format!("it serves another file: {bytes} bytes, published are {published}");
            return Err(DownloadFailure::Address(reason));
        }
        if status == 200 {
            part.restart()?;
        }
        if start != part.length() {
            return Err(DownloadFailure::Address("it answers with another range than was asked for".to_owned()));
        }
        Ok(response)
    }
}

/// Reads the first byte and the size of the whole file, if known, out of `Content-Range: bytes FIRST-LAST/WHOLE`.
fn content_range(response: &Response<Body>) -> Option<(u64, Option<u64>)> {
    let value = response.headers().get(CONTENT_RANGE)?.to_str().ok()?;
    let (range, whole) = value.strip_prefix("bytes ")?.split_once('/')?;
    let (first, _) = range.split_once('-')?;
    Some((first.parse().ok()?, whole.parse().ok()))
}
