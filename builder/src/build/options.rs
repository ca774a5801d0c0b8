//! What to build, from what, and how.

use std::path::PathBuf;

use crate::corpus::{self, CorpusSpec, OnError};
use crate::dataset::MANIFEST;
use crate::error::{Error, Result};
use crate::protocol::Protocol;

/// What to do with a missing or undecodable image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnBadImage {
    /// Keep the rows that show it; a grey picture stands in and is marked as such.
    Placeholder,
    /// Drop the rows that show it.
    Drop,
    /// Stop the build with an error.
    Error,
}

/// Options of a build. [`BuildOptions::new`] sets the defaults.
#[derive(Debug, Clone)]
pub struct BuildOptions {
    /// Name of a shipped protocol, or path of a TOML file.
    pub protocol: String,
    /// A corpus of one's own, which the protocol names. `None` stands for the one of [`corpus::CORPORA`] that it names.
    pub corpus: Option<CorpusSpec>,
    /// Folder of the corpus files.
    pub raw: PathBuf,
    /// Folder of the pictures, if not below `raw`.
    pub images: Option<PathBuf>,
    /// Benchmark folder to create; its parent is created if necessary.
    pub out: PathBuf,
    /// What to do with a damaged record.
    pub on_error: OnError,
    /// What to do with a missing or undecodable image.
    pub on_bad_image: OnBadImage,
    /// Write pictures into the rows instead of a file of their own.
    pub embed_images: bool,
    /// Leave out the rows that the published files lack.
    pub as_published: bool,
    /// Replace the benchmark that is already at `out`.
    pub force: bool,
}

impl BuildOptions {
    /// Returns options that stop at damaged records, keep rows without a picture, and replace nothing.
    pub fn new(protocol: impl Into<String>, raw: impl Into<PathBuf>, out: impl Into<PathBuf>) -> Self {
        Self {
            protocol: protocol.into(),
            corpus: None,
            raw: raw.into(),
            images: None,
            out: out.into(),
            on_error: OnError::Fail,
            on_bad_image: OnBadImage::Placeholder,
            embed_images: false,
            as_published: false,
            force: false,
        }
    }

    /// Returns what is known of the corpus that the protocol names.
    ///
    /// # Errors
    /// The options hold no corpus of one's own, and no known one has this name.
    pub(super) fn corpus_spec(&self, protocol: &Protocol) -> Result<CorpusSpec> {
        match &self.corpus {
            Some(corpus) => Ok(corpus.clone()),
            None => corpus::find(&protocol.corpus).map_err(|reason| Error::protocol("corpus", reason)),
        }
    }

    /// Returns whether the options ask for something that only a build with pictures can do.
    pub(super) fn needs_images(&self) -> bool {
        self.embed_images || self.on_bad_image != OnBadImage::Placeholder
    }

    /// Checks that `out` is free or may be replaced: with `force`, by a benchmark folder or an empty one, so that nothing
    /// else is ever deleted.
    ///
    /// # Errors
    /// `out` exists and may not be replaced.
    pub(super) fn check_out(&self) -> Result<()> {
        let out = &self.out;
        if !out.exists() {
            return Ok(());
        }
        if !self.force {
            return Err(Error::dataset(out, "exists already; choose another --out, or replace it with --force"));
        }
        let benchmark = out.is_dir() && (out.join(MANIFEST).is_file() || fs_err::read_dir(out)?.next().is_none());
        if benchmark {
            Ok(())
        } else {
            Err(Error::dataset(out, "is not a benchmark folder, so --force does not replace it"))
        }
    }
}
