//! Protocol files: TOML that cuts a corpus into a sequence of tasks. `splits/README.md` explains every key.

mod choice;
mod shipped;
mod tasks;
mod values;

use std::path::Path;

use serde::Deserialize;

use crate::corpus::{Extraction, SplitRule};
use crate::error::{Error, Result, hint};
use crate::files::{is_plain_name, sha256_hex, stays_inside};
use crate::plain;
pub use choice::CorpusChoice;
pub use shipped::SHIPPED;
pub use values::{Erratum, Masking, NonePolicy, TaskSpec, Tests};

/// A parsed protocol file. [`Protocol::tasks`] checks it against a corpus.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Protocol {
    /// Name of the benchmark, which becomes a folder and a dataset config.
    pub name: String,
    /// The corpus that it cuts into tasks.
    pub corpus: CorpusChoice,
    /// How the rows are dealt to splits, if not as the files of the corpus have them.
    pub split: Option<SplitRule>,
    /// One line that describes the benchmark.
    #[serde(default)]
    pub description: String,
    /// Folder name in the published text layout; the protocol's name if absent.
    pub published: Option<String>,
    /// What the test files hold.
    #[serde(default)]
    pub tests: Tests,
    /// What happens to rows without a class; see [`Protocol::none_policy`] for the default.
    pub none: Option<NonePolicy>,
    /// Which entity types keep their tags; entity benchmarks only.
    pub masking: Option<Masking>,
    /// Which type owns a sentence that holds several, highest first; entity benchmarks only.
    #[serde(default)]
    pub priority: Vec<String>,
    /// Classes that are left out together with their rows (relations) or tags (entity types).
    #[serde(default)]
    pub drop: Vec<String>,
    /// Rows that are missing from the published files.
    #[serde(default)]
    pub errata: Vec<Erratum>,
    /// The class order to cut into `n_tasks`; all classes in the order of their ids if absent.
    classes: Option<Vec<String>>,
    /// Seed that shuffles the class order; the order stays as it is if absent.
    order_seed: Option<u64>,
    /// Number of tasks to cut the class order into.
    n_tasks: Option<usize>,
    /// Several orders of one benchmark, each a list of tasks with their classes. Every order is a benchmark of its own.
    #[serde(default)]
    orders: Vec<Vec<Vec<String>>>,
    /// Seeds that shuffle the class order, each for a benchmark of its own.
    #[serde(default)]
    order_seeds: Vec<u64>,
    /// The tasks one by one, as an alternative to `n_tasks`.
    #[serde(rename = "tasks", default)]
    listed: Vec<TaskSpec>,
    /// Which of several orders this is, from 1.
    #[serde(skip)]
    pub order: Option<usize>,
    /// The text of the file, which the manifest stores.
    #[serde(skip)]
    pub text: String,
}

impl Protocol {
    /// Loads a shipped protocol by name, or a protocol file by path.
    ///
    /// # Errors
    /// The name is unknown, the file cannot be read, or it has unknown or ill-typed keys.
    pub fn load(name_or_path: &str) -> Result<Self> {
        if let Some((_, text)) = SHIPPED.iter().find(|(name, _)| *name == name_or_path) {
            return Self::parse(text);
        }
        let names = SHIPPED.map(|(name, _)| name);
        if !Path::new(name_or_path).is_file() {
            let hint = hint(name_or_path, names);
            return Err(Error::protocol(
                name_or_path,
                format!("neither a file nor a shipped protocol{hint}; shipped: {}", names.join(", ")),
            ));
        }
        let bytes = fs_err::read(name_or_path)?;
        plain::text(&bytes).map_err(|misread| Error::dataset(Path::new(name_or_path), misread.to_string()))?;
        Self::parse(&String::from_utf8_lossy(&bytes)).map_err(|error| error.in_protocol(name_or_path))
    }

    /// Parses the text of a protocol file.
    ///
    /// # Errors
    /// The text is not TOML, or has unknown or ill-typed keys; the message names the line.
    pub fn parse(text: &str) -> Result<Self> {
        let misread = |misread: plain::Misread| {
            let line = misread.line.map_or_else(String::new, |line| format!("line {line}: "));
            Error::protocol(misread.key.as_deref().unwrap_or("file"), format!("{line}{}", misread.reason))
        };
        let mut protocol: Self = plain::toml(text).map_err(misread)?;
        protocol.text = text.to_owned();
        protocol.check_keys()?;
        Ok(protocol)
    }

    /// Returns how many benchmarks the protocol describes: one, or as many as it has orders.
    pub fn orders(&self) -> usize {
        self.orders.len().max(self.order_seeds.len())
    }

    /// Returns how many tasks a benchmark of this protocol has; [`Protocol::with_order`] chooses among several orders first.
    pub fn task_count(&self) -> usize {
        if self.listed.is_empty() { self.n_tasks.unwrap_or(1) } else { self.listed.len() }
    }

    /// Returns the benchmark of one order, counted from 1; its name ends in `-order1` and so on.
    ///
    /// # Errors
    /// The protocol has no such order.
    pub fn with_order(&self, order: usize) -> Result<Self> {
        let known = self.orders();
        if known == 0 {
            return Err(Error::protocol("orders", "missing: this protocol describes a single order"));
        }
        if !(1..=known).contains(&order) {
            return Err(Error::protocol("orders", format!("there is no order {order}; there are 1 to {known}")));
        }
        let mut one = self.clone();
        one.name = format!("{}-order{order}", self.name);
        one.published = self.published.as_ref().map(|folder| format!("{folder}-order{order}"));
        one.order = Some(order);
        if let Some(tasks) = self.orders.get(order - 1) {
            one.listed = tasks.iter().map(|classes| TaskSpec { name: None, classes: classes.clone() }).collect();
        }
        one.order_seed = self.order_seeds.get(order - 1).copied();
        one.orders.clear();
        one.order_seeds.clear();
        Ok(one)
    }

    /// Returns the SHA-256 of the protocol's text.
    pub fn sha256(&self) -> String {
        sha256_hex(self.text.as_bytes())
    }

    /// Returns what happens to rows without a class: as the file says, or by default `split` for relations and `drop` for
    /// entities, as in the published splits.
    pub fn none_policy(&self, task: Extraction) -> NonePolicy {
        self.none.unwrap_or(match task {
            Extraction::Relations => NonePolicy::Split,
            Extraction::Entities => NonePolicy::Drop,
        })
    }

    /// Checks that the keys agree with each other, whatever the corpus holds.
    fn check_keys(&self) -> Result<()> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let name_ok = is_plain_name(&self.name) && self.name.chars().all(plain);
        let published_ok = self.published.as_deref().is_none_or(stays_inside);
        let listed = !self.listed.is_empty();
        let orders = !self.orders.is_empty();
        let seeds = !self.order_seeds.is_empty();
        let cut = self.n_tasks.is_some() || self.order_seed.is_some() || self.classes.is_some() || seeds;
        for (wrong, key, reason) in [
            (!name_ok, "name", "letters, digits, `-`, `_` and `.` only: it becomes a folder and a config name"),
            (
                !published_ok,
                "published",
                "leads out of the folder that an export writes into; give a plain folder name",
            ),
            (listed && cut, "tasks", "listed beside `classes`, `order_seed` or `n_tasks`; give one or the other"),
            (orders && (listed || cut), "orders", "stands beside another list of tasks; give one or the other"),
            (seeds && self.order_seed.is_some(), "order_seeds", "stands beside `order_seed`; give one or the other"),
            (
                !listed && !orders && self.n_tasks.is_none(),
                "n_tasks",
                "missing: give `n_tasks` before the first table, or list `[[tasks]]`",
            ),
            (self.n_tasks == Some(0), "n_tasks", "must be at least 1"),
        ] {
            if wrong {
                return Err(Error::protocol(key, reason));
            }
        }
        self.split.as_ref().map_or(Ok(()), SplitRule::check)
    }
}
