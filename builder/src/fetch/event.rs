//! What a fetch tells while it works.

use std::path::Path;

use crate::sources::PublishedFile;

/// A step of a fetch, for those who show its progress.
#[derive(Debug, Clone, Copy)]
pub enum Event<'a> {
    /// A file was there before, as published.
    Present {
        /// The file.
        file: &'a PublishedFile,
        /// Where it is.
        path: &'a Path,
    },
    /// An address is asked for a file.
    Start {
        /// The file.
        file: &'a PublishedFile,
        /// The address.
        address: &'a str,
        /// Number of bytes that an earlier attempt has brought.
        start: u64,
    },
    /// Bytes have come.
    Bytes {
        /// The file.
        file: &'a PublishedFile,
        /// Number of bytes so far.
        done: u64,
    },
    /// A file is in its place, with the published sum.
    Done {
        /// The file.
        file: &'a PublishedFile,
        /// Where it is.
        path: &'a Path,
    },
}
