//! What a fetch tells while it works.

use std::path::Path;

use crate::sources::PublishedFile;

/// A step of a fetch, for those who show its progress.
#[derive(Debug, Clone, Copy)]
pub enum Event<'a> {
    /// A file was there before, as published.
    Present {
        /// The file that is not fetched again.
        file: &'a PublishedFile,
        /// The path under which it was found, which may be that of another published name.
        path: &'a Path,
    },
    /// An address is about to be asked for a file.
    Start {
        /// The file that is fetched.
        file: &'a PublishedFile,
        /// The address that is asked, before any redirection.
        address: &'a str,
        /// Number of bytes that an earlier attempt has brought.
        start: u64,
    },
    /// Some bytes of a file have come.
    Bytes {
        /// The file that is fetched.
        file: &'a PublishedFile,
        /// Number of its bytes so far, with those of earlier attempts.
        done: u64,
    },
    /// A file is in its place, with the published sum.
    Done {
        /// The file that was fetched.
        file: &'a PublishedFile,
        /// The path to which it was moved.
        path: &'a Path,
    },
}
