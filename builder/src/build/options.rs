//! What to build, from what, and how.

use std::path::PathBuf;

use serde::Deserialize;

use crate::corpus::{self, Corpus, CorpusSpec, OnError};
use crate::dataset::{MANIFEST, MAX_SHARD_BYTES};
use crate::error::{Error, Result};
use crate::files::{Replacing, Target};
use crate::protocol::Protocol;

/// What to do with a missing or undecodable image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnBadImage {
    /// Keep the rows that show it; a grey picture stands in and is marked as such.
    Placeholder,
    /// Drop the rows that show it.
    Drop,
    /// Stop the build with an error.
    Error,
}

/// What to do with a crop dictionary that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnBadCrops {
    /// Stop the build with an error.
    Error,
    /// Build without any crops, so that splits do not differ in whether they have some.
    Drop,
}

/// What stops a build unless it is allowed by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Allowed {
    /// More than 1 % of the records of a split are damaged and left out.
    Skipped,
    /// No row of a class is left, because its records were damaged or its pictures could not be used.
    LostClass,
    /// Two splits hold the same rows.
    EqualSplits,
    /// Rows name pictures, of which none can be used.
    NoPictures,
}

impl Allowed {
    /// Returns the name that `mkgc build --allow` takes.
    pub fn name(self) -> &'static str {
        match self {
            Self::Skipped => "skipped",
            Self::LostClass => "lost-class",
            Self::EqualSplits => "equal-splits",
            Self::NoPictures => "no-pictures",
        }
    }
}

/// Where the rows of a benchmark come from.
#[derive(Debug, Clone, Default)]
pub enum CorpusSource {
    /// The corpus that the protocol names or describes, read from its files.
    #[default]
    Protocol,
    /// A corpus of one's own, which the protocol names, read from its files.
    Files(Box<CorpusSpec>),
    /// Rows made in memory, of a corpus that the protocol names; see [`Corpus::from_rows`].
    Rows(Box<Corpus>),
}

/// Options of a build. [`BuildOptions::new`] sets the defaults.
#[derive(Debug, Clone)]
pub struct BuildOptions {
    /// Name of a shipped protocol, or path of a TOML file.
    pub protocol: String,
    /// Where the rows of the benchmark come from.
    pub corpus: CorpusSource,
    /// Which of the protocol's several orders to build, from 1; `None` for a protocol with a single one.
    pub order: Option<usize>,
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
    /// What to do with a crop dictionary that cannot be read.
    pub on_bad_crops: OnBadCrops,
    /// Write pictures into the rows instead of a file of their own.
    pub embed_images: bool,
    /// Most bytes of an images or crops file; several take the place of a larger one.
    pub shard_bytes: u64,
    /// Leave out the rows that the published files lack.
    pub as_published: bool,
    /// What does not stop the build although something seems to be wrong with the corpus files.
    pub allow: Vec<Allowed>,
    /// Replace the benchmark that is already at `out`.
    pub force: bool,
}

impl BuildOptions {
    /// Returns options that stop at damaged records, keep rows without a picture, and replace nothing.
    pub fn new(protocol: impl Into<String>, raw: impl Into<PathBuf>, out: impl Into<PathBuf>) -> Self {
        Self {
            protocol: protocol.into(),
            corpus: CorpusSource::Protocol,
            order: None,
            raw: raw.into(),
            images: None,
            out: out.into(),
            on_error: OnError::Fail,
            on_bad_image: OnBadImage::Placeholder,
            on_bad_crops: OnBadCrops::Error,
            embed_images: false,
            shard_bytes: MAX_SHARD_BYTES,
            as_published: false,
            allow: Vec::new(),
            force: false,
        }
    }

    /// Loads the protocol, or the order of it that the options name.
    ///
    /// # Errors
    /// The protocol cannot be read; it has several orders and the options name none, or one that it lacks.
    pub(super) fn load_protocol(&self) -> Result<Protocol> {
        let protocol = Protocol::load(&self.protocol)?;
        match (self.order, protocol.orders()) {
            (None, 0) => Ok(protocol),
            (Some(order), _) => protocol.with_order(order),
            (None, orders) => {
                let reason = format!("there are {orders} of them; build one with --order 1 to {orders}");
                Err(Error::protocol("orders", reason))
            }
        }
    }

    /// Returns the rows of the corpus in the splits that the protocol wants.
    ///
    /// # Errors
    /// The corpus is unknown, or its files cannot be read; the protocol's `[split]` does not fit it.
    pub(super) fn read_corpus(&self, protocol: &Protocol) -> Result<Corpus> {
        let read = |spec: &CorpusSpec| corpus::read(spec, &self.raw, self.on_error);
        let mut corpus = match &self.corpus {
            CorpusSource::Protocol => read(&protocol.corpus.spec()?)?,
            CorpusSource::Files(spec) => read(spec)?,
            CorpusSource::Rows(corpus) => (**corpus).clone(),
        };
        if let Some(rule) = &protocol.split {
            rule.apply(&mut corpus, &self.raw)?;
        }
        Ok(corpus)
    }

    /// Returns whether the options ask for something that only a build with pictures can do.
    pub(super) fn needs_images(&self) -> bool {
        self.embed_images || self.on_bad_image != OnBadImage::Placeholder
    }

    /// Finds the place of the new folder. With `force`, it may be that of a benchmark folder; nothing else is ever deleted.
    ///
    /// # Errors
    /// `out` exists and may not be replaced, or cannot be made.
    pub(super) fn target(&self) -> Result<Target> {
        let replacing = if self.force {
            Replacing { holding: Some(MANIFEST), refusal: "is not a benchmark folder, so --force does not replace it" }
        } else {
            Replacing { holding: None, refusal: "exists already; choose another --out, or replace it with --force" }
        };
        Target::open(&self.out, replacing)
    }
}
