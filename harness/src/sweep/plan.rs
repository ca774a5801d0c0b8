//! The plan of a sweep as its TOML file holds it. `docs/sweep.md` explains every key.
//!
//! ```toml
//! benchmarks = ["data/mnre-10"]   # folders that `mkgc build` wrote; a folder of several orders stands for them
//! methods = ["lmc", "emr"]
//! seeds = [42]                    # train_seed of each run; default 42
//!
//! [[variants]]                    # default: one run per method and seed with the settings as they are
//! name = "full"
//!
//! [[variants]]
//! name = "no-distillation"
//! set = { lambda = 0.0 }          # every method of the plan must read it
//! ```

use std::collections::BTreeSet;
use std::fmt::Display;
use std::path::{Path, PathBuf};

use mkgc_builder::build::{Allowed, OnBadCrops, OnBadImage};
use mkgc_builder::corpus::OnError;
use mkgc_builder::files::parent_folder;
use mkgc_builder::plain;
use serde::Deserialize;

use crate::config::settings::SETTINGS;
use crate::config::unknown;
use crate::error::{Error, Result};
use crate::methods::registry;
use crate::train::SaveModel;

/// A plan, as its TOML file holds it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Folder for benchmarks, runs, logs and report.
    pub(super) out: Option<PathBuf>,
    #[serde(default)]
    pub(super) benchmarks: Vec<PathBuf>,
    #[serde(default)]
    pub(super) build: Vec<BuildEntry>,
    /// The orders of each family; all of them if empty.
    #[serde(default)]
    pub(super) orders: Vec<usize>,
    pub(super) methods: Vec<String>,
    #[serde(default = "one_seed")]
    pub(super) seeds: Vec<u32>,
    /// Stop after so many tasks; all of them if not given.
    pub(super) tasks: Option<usize>,
    pub(super) recipe: Option<PathBuf>,
    pub(super) device: Option<String>,
    pub(super) dtype: Option<String>,
    /// Which networks of each run are kept.
    pub(super) save_model: Option<SaveModel>,
    /// Settings of every run whose method reads them.
    #[serde(default)]
    pub(super) settings: toml::Table,
    #[serde(default)]
    pub(super) variants: Vec<Variant>,
    #[serde(default)]
    pub(super) encoders: Vec<EncoderPair>,
    /// The path of the file.
    #[serde(skip)]
    pub(super) path: PathBuf,
}

/// A benchmark that is built before the runs.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BuildEntry {
    /// A shipped protocol, or the path of a TOML file.
    pub protocol: String,
    pub raw: PathBuf,
    pub images: Option<PathBuf>,
    /// The orders of a family; those of the plan if empty.
    #[serde(default)]
    pub orders: Vec<usize>,
    pub on_error: Option<OnError>,
    pub on_bad_image: Option<OnBadImage>,
    pub on_bad_crops: Option<OnBadCrops>,
    #[serde(default)]
    pub allow: Vec<Allowed>,
    #[serde(default)]
    pub as_published: bool,
}

/// Settings that replace a method's own.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Variant {
    pub name: String,
    #[serde(default)]
    pub set: toml::Table,
}

/// A text encoder and the vision encoder beside it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EncoderPair {
    /// The pair's name in folders and reports.
    pub name: Option<String>,
    pub text: Option<String>,
    pub vision: Option<String>,
}

fn one_seed() -> Vec<u32> {
    vec![42]
}

impl Plan {
    /// Reads a plan and checks its names; settings are checked when they are resolved for each run.
    ///
    /// # Errors
    /// A file that is missing or no plan; a name that is unknown, unusable or there twice.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = fs_err::read(path)?;
        let misread = |misread: plain::Misread| Error::Usage(format!("{}: {misread}", path.display()));
        let mut plan: Self = plain::toml(plain::text(&bytes).map_err(misread)?).map_err(misread)?;
        plan.path = path.to_owned();
        plan.check_names()?;
        plan.check_encoders()?;
        for (table, settings) in plan.tables() {
            if settings.contains_key("train_seed") {
                return Err(plan.error(format!("{table}: `train_seed` clashes with `seeds`; list the seeds there")));
            }
        }
        Ok(plan)
    }

    /// Makes an error about the plan.
    pub(super) fn error(&self, reason: impl Display) -> Error {
        Error::Usage(format!("{}: {reason}", self.path.display()))
    }

    /// Returns a path of the plan, which is relative to the folder of the plan.
    pub(super) fn resolve(&self, path: &Path) -> PathBuf {
        let folder = parent_folder(&self.path);
        if folder == Path::new(".") { path.to_owned() } else { folder.join(path) }
    }

    /// Returns the tables of settings with the places that messages name.
    fn tables(&self) -> impl Iterator<Item = (String, &toml::Table)> {
        let variants = self.variants.iter().map(|variant| (format!("variant `{}`", variant.name), &variant.set));
        std::iter::once(("`settings`".to_owned(), &self.settings)).chain(variants)
    }

    fn check_names(&self) -> Result<()> {
        if self.methods.is_empty() || self.seeds.is_empty() {
            return Err(self.error("`methods` and `seeds` must name at least one each"));
        }
        for method in &self.methods {
            registry::find(method).map_err(|error| self.error(error))?;
        }
        let variants = self.variants.iter().map(|variant| variant.name.as_str());
        let encoders = self.encoders.iter().filter_map(|encoder| encoder.name.as_deref());
        for (kind, name) in
            variants.clone().map(|name| ("variant", name)).chain(encoders.clone().map(|name| ("encoder", name)))
        {
            let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)) && !name.is_empty();
            if !plain {
                return Err(self.error(format!("{kind} `{name}`: use letters, digits, `-`, `_`, `.` for a name")));
            }
        }
        self.no_duplicate("methods", &self.methods)?;
        self.no_duplicate("seeds", &self.seeds)?;
        self.no_duplicate("orders", &self.orders)?;
        self.no_duplicate("variants", variants)?;
        self.no_duplicate("encoders", encoders)?;
        self.build.iter().try_for_each(|entry| self.no_duplicate("build.orders", &entry.orders))
    }

    fn no_duplicate<T: Ord + Display>(&self, key: &str, values: impl IntoIterator<Item = T>) -> Result<()> {
        let mut known = BTreeSet::new();
        for value in values {
            if let Some(twice) = known.replace(value) {
                return Err(self.error(format!("`{key}` lists `{twice}` twice; delete one")));
            }
        }
        Ok(())
    }

    fn check_encoders(&self) -> Result<()> {
        if self.encoders.len() > 1 && self.encoders.iter().any(|pair| pair.name.is_none()) {
            return Err(self.error("each of several `encoders` needs a `name`, which tells their runs apart"));
        }
        match self.encoders.iter().position(|pair| pair.text.is_none() && pair.vision.is_none()) {
            Some(at) => Err(self.error(format!("`encoders[{at}]` needs `text`, `vision` or both"))),
            None => Ok(()),
        }
    }

    /// Checks that each of the settings that serve all runs is read by at least one of the methods.
    ///
    /// # Errors
    /// A setting that none of them reads.
    pub(super) fn check_shared(&self, settings: &toml::Table) -> Result<()> {
        let mut reads = BTreeSet::new();
        for method in &self.methods {
            reads.extend(registry::find(method)?.reads());
        }
        let Some(key) = settings.keys().find(|key| !reads.contains(key.as_str())) else { return Ok(()) };
        let reason = if SETTINGS.iter().any(|setting| setting.key == key) {
            let reads: Vec<&str> = reads.into_iter().collect();
            format!("no method of the plan reads it. They read: {}", reads.join(", "))
        } else {
            unknown(key, reads.iter().copied())
        };
        Err(Error::Config { key: key.clone(), reason })
    }
}
