//! What a method says of itself: each method's file has such a constant on top.

use mkgc_builder::corpus::Extraction;

use super::method::{Method, Session};
use super::saved::{SavedMethod, by_classifier};
use crate::config::settings::{EVERY_METHOD, TRAINING};
use crate::config::{self, Config, HeadInput, Overrides, Resolved};
use crate::error::Result;
use crate::learner::Architecture;

/// Makes a method at the start of a run.
pub type Create = fn(&mut Session<'_>) -> Result<Box<dyn Method>>;

/// Makes a method of a saved model, which only predicts.
pub type Reopen = fn(SavedMethod) -> Result<Box<dyn Method>>;

/// A method: what it is, what it reads, and how it is made.
#[derive(Debug, Clone, Copy)]
pub struct MethodSpec {
    /// Name of the method, for `--method` and reports.
    pub name: &'static str,
    /// What the method does, in a line.
    pub about: &'static str,
    /// Paper, or what it is made of.
    pub source: &'static str,
    /// Kind of the network that it trains.
    pub architecture: Architecture,
    /// What it keeps between tasks, besides the network.
    pub keeps: Keeps,
    /// Makes the method at the start of a run.
    pub create: Create,
    /// Makes the method of a saved model.
    pub reopen: Reopen,
    /// Changes the shared defaults to the method's own.
    pub defaults: fn(Config, Extraction) -> Config,
    /// Where the defaults come from that differ from the shared ones.
    pub defaults_source: &'static str,
    /// Groups of settings that it reads, besides those of every method and of its network.
    pub settings: &'static [&'static [&'static str]],
    /// Those of the settings that the first task does not depend on, so that a run that fails in its second task can go on
    /// with other values.
    pub later_settings: &'static [&'static str],
}

/// What a method keeps between tasks, besides the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeps {
    /// The method keeps no row between tasks.
    Nothing,
    /// `memory_per_class` rows of each class.
    RowsPerClass,
    /// Every row, so the method bounds what those that keep less can reach.
    AllRows,
    /// Something other than rows, in words.
    Other(&'static str),
}

impl Keeps {
    /// Describes what is kept, with the name of the setting that limits it.
    pub fn phrase(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::RowsPerClass => "memory_per_class rows per class",
            Self::AllRows => "all rows",
            Self::Other(what) => what,
        }
    }

    /// Describes what is kept with `config`, e.g. `10 rows per class`.
    pub fn budget(self, config: &Config) -> String {
        self.phrase().replace("memory_per_class", &config.memory_per_class.to_string())
    }
}

impl MethodSpec {
    /// Describes a method of one's own that fine-tunes BERT, keeps nothing and has the shared defaults. Change the fields
    /// that differ.
    pub const fn new(name: &'static str, create: Create) -> Self {
        Self {
            name,
            about: "a method of one's own",
            source: "-",
            architecture: Architecture::Text,
            keeps: Keeps::Nothing,
            create,
            reopen: by_classifier,
            defaults: |shared, _| shared,
            defaults_source: "-",
            settings: &[TRAINING],
            later_settings: &[],
        }
    }

    /// Returns `text` or `text + image`.
    pub fn modality(&self) -> &'static str {
        if self.multimodal() { "text + image" } else { "text" }
    }

    /// Returns whether the method reads pictures.
    pub fn multimodal(&self) -> bool {
        self.architecture != Architecture::Text
    }

    /// Returns whether the method trains on rows of earlier tasks.
    pub fn rehearses(&self) -> bool {
        matches!(self.keeps, Keeps::RowsPerClass | Keeps::AllRows)
    }

    /// Returns the method's default settings.
    pub fn config(&self, kind: Extraction) -> Config {
        let head = if self.architecture == Architecture::Dual { HeadInput::Cls } else { HeadInput::Markers };
        (self.defaults)(Config { head, ..Config::shared(kind) }, kind)
    }

    /// Returns the keys of the settings that the method reads.
    pub fn reads(&self) -> Vec<&'static str> {
        let groups = [EVERY_METHOD, self.architecture.settings()];
        groups.into_iter().chain(self.settings.iter().copied()).flatten().copied().collect()
    }

    /// Layers what a user gave over the method's defaults; `methods` are the names whose sections a recipe may hold.
    ///
    /// # Errors
    /// A setting that the method does not read; a value that no run can have.
    pub fn resolve(&self, kind: Extraction, methods: &[&'static str], given: Overrides<'_>) -> Result<Resolved> {
        let accepted =
            config::Accepted { method: self.name, defaults: self.config(kind), reads: &self.reads(), methods };
        config::resolve(kind, &accepted, given)
    }
}
