//! From a method's defaults, a recipe and flags to the settings of a run.
//!
//! A recipe is a TOML file. Its top level serves every method of a comparison, so each method takes the keys that it reads
//! and ignores the others, which some method must know. A section named after a method, such as `[lmc]`, and flags are
//! meant for one method: a key there that the method does not read is refused with the list of those it reads.
//!
//! ```toml
//! epochs = 3            # every method that trains
//! key_size = 32         # RP-CRE alone; the others ignore it
//!
//! [lmc]
//! shared_layers = 1     # LMC alone; a key that LMC does not read would be refused here
//! ```

use std::collections::BTreeMap;
use std::path::Path;

use mkgc_builder::corpus::Extraction;
use mkgc_builder::plain::{self, Misread};

use super::Config;
use super::check::config_error;
use super::settings::SETTINGS;
use crate::error::{Error, Result};

/// Settings with the origin of each.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// The settings of the run.
    pub config: Config,
    /// Origin of each key: `default`, the recipe's file name or `flag`.
    pub origins: BTreeMap<String, String>,
    /// Keys of the recipe's top level that serve other methods, because this one does not read them.
    pub ignored: Vec<String>,
}

impl Resolved {
    /// Writes one line per key: `key = value  # origin`.
    ///
    /// # Errors
    /// Values that TOML cannot hold.
    pub fn to_toml(&self) -> Result<String> {
        let table = as_table(&self.config)?;
        let line = |(key, value): (&String, &toml::Value)| format!("{key} = {value}  # {}\n", self.origins[key]);
        Ok(table.iter().map(line).collect())
    }
}

/// Origin of a setting that nobody changed.
const DEFAULT: &str = "default";

/// Origin of a setting that neither a method nor a recipe gave.
const FLAG: &str = "flag";

/// A recipe: settings for all methods and sections for single ones.
#[derive(Debug, Clone)]
pub struct Recipe {
    origin: String,
    table: toml::Table,
}

impl Recipe {
    /// Reads a TOML file.
    ///
    /// # Errors
    /// A file that is missing or no TOML.
    pub fn read(path: &Path) -> Result<Self> {
        let table = toml::from_str(&fs_err::read_to_string(path)?)
            .map_err(|error| Error::Usage(format!("{}: {error}", path.display())))?;
        Ok(Self::new(&path.file_name().unwrap_or(path.as_os_str()).to_string_lossy(), table))
    }

    /// Makes a recipe of a table; `origin` is what `run.json` says of the settings taken from it.
    pub fn new(origin: &str, table: toml::Table) -> Self {
        Self { origin: origin.to_owned(), table }
    }
}

/// What a method lets a user set.
pub struct Accepted<'a> {
    /// Name of the method, which is also its section in a recipe.
    pub method: &'a str,
    /// Settings that the method has before anybody changes one.
    pub defaults: Config,
    /// Keys of the settings that the method reads.
    pub reads: &'a [&'static str],
    /// Names of all methods, whose sections a recipe may hold.
    pub methods: &'a [&'static str],
}

/// What a user gave, beside the defaults.
#[derive(Default)]
pub struct Overrides<'a> {
    /// The recipe that `--recipe` names.
    pub recipe: Option<&'a Recipe>,
    /// Flags that serve several methods at once, which each takes as it takes the top level of a recipe.
    pub shared: toml::Table,
    /// Flags for this method, which win over everything else.
    pub flags: toml::Table,
}

/// Layers what a user gave over a method's defaults; the module's documentation says what is refused.
///
/// # Errors
/// [`Error::Config`] for a key that is unknown or not read by the method, or a value that no run can have.
pub fn resolve(kind: Extraction, accepted: &Accepted<'_>, given: Overrides<'_>) -> Result<Resolved> {
    let mut layers = Layers::new(accepted)?;
    if let Some(recipe) = given.recipe {
        layers.recipe(recipe).map_err(|error| located(error, |_| Some(&recipe.origin)))?;
    }
    layers.shared(given.shared, FLAG)?;
    layers.own(given.flags, FLAG)?;
    let origins = layers.origins.clone();
    let resolved = layers.finish().and_then(|resolved| check(kind, accepted, &resolved).map(|()| resolved));
    resolved.map_err(|error| located(error, |key| origins.get(key)))
}

/// Adds to an error about a setting which recipe it comes from, if it comes from one.
fn located<'a>(error: Error, origin: impl Fn(&str) -> Option<&'a String>) -> Error {
    let Error::Config { key, reason } = error else { return error };
    // The value at fault may be one of a list.
    let file =
        origin(key.split('[').next().unwrap_or_default()).filter(|origin| ![DEFAULT, FLAG].contains(&origin.as_str()));
    let file = file.map_or_else(String::new, |file| format!(" (in {file})"));
    config_error(&key, &format!("{reason}{file}"))
}

/// Refuses values that contradict each other or the benchmark.
fn check(kind: Extraction, accepted: &Accepted<'_>, resolved: &Resolved) -> Result<()> {
    let config = &resolved.config;
    config.check()?;
    if kind == Extraction::Entities && config.head != accepted.defaults.head {
        let reason = "chooses what a relation head reads; entity heads read every word: leave it out";
        return Err(config_error("head", reason));
    }
    if !config.ewc_grid.is_empty() && resolved.origins["ewc_lambda"] != DEFAULT {
        return Err(config_error("ewc_lambda", "is chosen from ewc_grid; to give it, also set ewc_grid = []"));
    }
    Ok(())
}

/// The values so far, and where each came from.
struct Layers<'a> {
    accepted: &'a Accepted<'a>,
    table: toml::Table,
    origins: BTreeMap<String, String>,
    ignored: Vec<String>,
}

impl<'a> Layers<'a> {
    fn new(accepted: &'a Accepted<'a>) -> Result<Self> {
        let table = as_table(&accepted.defaults)?;
        let origins = table.keys().map(|key| (key.clone(), DEFAULT.to_owned())).collect();
        Ok(Self { accepted, table, origins, ignored: Vec::new() })
    }

    /// Takes what a recipe holds for the method.
    fn recipe(&mut self, recipe: &Recipe) -> Result<()> {
        let mut shared = recipe.table.clone();
        let own = take_section(&mut shared, self.accepted.method)?;
        for method in self.accepted.methods {
            take_section(&mut shared, method)?;
        }
        self.shared(shared, &recipe.origin)?;
        self.own(own, &recipe.origin)
    }

    /// Takes the keys that the method reads; the others must be settings of other methods.
    fn shared(&mut self, values: toml::Table, origin: &str) -> Result<()> {
        for (key, value) in values {
            if self.accepted.reads.contains(&key.as_str()) {
                self.set(key, value, origin);
            } else if !is_setting(&key) {
                let every = SETTINGS.iter().map(|setting| setting.key);
                return Err(config_error(&key, &unknown(&key, every)));
            } else {
                self.ignored.push(key);
            }
        }
        Ok(())
    }

    /// Takes every key; the method must read it.
    fn own(&mut self, values: toml::Table, origin: &str) -> Result<()> {
        for (key, value) in values {
            if !self.accepted.reads.contains(&key.as_str()) {
                return Err(self.refused(&key));
            }
            self.set(key, value, origin);
        }
        Ok(())
    }

    fn set(&mut self, key: String, value: toml::Value, origin: &str) {
        self.origins.insert(key.clone(), origin.to_owned());
        self.table.insert(key, value);
    }

    fn refused(&self, key: &str) -> Error {
        let reads = self.accepted.reads;
        if !is_setting(key) {
            return config_error(key, &unknown(key, reads.iter().copied()));
        }
        config_error(key, &format!("{} does not read it. It reads: {}", self.accepted.method, reads.join(", ")))
    }

    fn finish(self) -> Result<Resolved> {
        let misfit = |misread: Misread| config_error(&misread.key.unwrap_or_default(), &misread.reason);
        let config = plain::table(self.table).map_err(misfit)?;
        Ok(Resolved { config, origins: self.origins, ignored: self.ignored })
    }
}

/// Removes the section of a method from a recipe and returns it; empty where there is none.
fn take_section(recipe: &mut toml::Table, method: &str) -> Result<toml::Table> {
    match recipe.remove(method) {
        None => Ok(toml::Table::new()),
        Some(toml::Value::Table(section)) => Ok(section),
        Some(_) => {
            Err(config_error(method, &format!("is a method, not a setting; write its settings below [{method}]")))
        }
    }
}

fn is_setting(key: &str) -> bool {
    SETTINGS.iter().any(|setting| setting.key == key)
}

fn as_table(config: &Config) -> Result<toml::Table> {
    toml::Table::try_from(config).map_err(|error| Error::Usage(error.to_string()))
}

/// Longest name, in bytes, that is compared with those that are accepted: the comparison takes memory and time with the
/// product of lengths.
const LONGEST: usize = 200;

/// Returns "`name` is unknown; did you mean …?" with the names that are accepted.
pub fn unknown<'a>(name: &str, accepted: impl Iterator<Item = &'a str> + Clone) -> String {
    let similarity = strsim::normalized_damerau_levenshtein;
    let compared = accepted.clone().filter(|_| name.len() <= LONGEST);
    let nearest = compared.max_by(|a, b| similarity(name, a).total_cmp(&similarity(name, b)));
    let hint = nearest.map_or(".".to_owned(), |nearest| format!("; did you mean `{nearest}`?"));
    format!("`{name}` is unknown{hint} Accepted: {}", accepted.collect::<Vec<_>>().join(", "))
}
