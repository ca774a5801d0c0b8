//! Protocol files: TOML that cuts a corpus into a sequence of tasks. `splits/README.md` explains every key.

use std::collections::BTreeMap;
use std::path::Path;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::Deserialize;

use crate::corpus::{Corpus, Extraction, Split};
use crate::error::{Error, Result, hint};
use crate::files::sha256_hex;

/// The protocols that come with the program: name and text.
pub const SHIPPED: [(&str, &str); 5] = [
    ("mnre-5", include_str!("../../splits/mnre-5.toml")),
    ("mnre-7", include_str!("../../splits/mnre-7.toml")),
    ("mnre-10", include_str!("../../splits/mnre-10.toml")),
    ("twitter2017-plom", include_str!("../../splits/twitter2017-plom.toml")),
    ("twitter2017-polm", include_str!("../../splits/twitter2017-polm.toml")),
];

/// What the test file of task k holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tests {
    /// The rows of tasks `0..=k`.
    #[default]
    Cumulative,
    /// The rows that task k owns.
    PerTask,
}

impl Tests {
    /// Returns the value that stands for it in a protocol file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cumulative => "cumulative",
            Self::PerTask => "per-task",
        }
    }
}

/// What happens to rows without any class: rows without a relation, and training and validation sentences without
/// entities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NonePolicy {
    /// Each task gets a contiguous chunk of them, in file order.
    Split,
    /// Every task gets all of them.
    All,
    /// They are left out of every task.
    Drop,
}

/// Which entity types keep their tags in the training and validation rows of task k; the tags of others become `O`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Masking {
    /// The types of task k.
    #[default]
    Current,
    /// The types of tasks `0..=k`.
    Seen,
    /// All types keep their tags.
    Off,
}

/// A task as a protocol file lists it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskSpec {
    /// Name shown to people; the joined class names if absent.
    pub name: Option<String>,
    /// Relations or entity types that the task introduces.
    pub classes: Vec<String>,
}

impl TaskSpec {
    /// Returns the name shown to people: the given one, or the last parts of the class names.
    pub fn display_name(&self) -> String {
        let last_part = |class: &String| class.rsplit('/').next().unwrap_or_default().to_owned();
        self.name.clone().unwrap_or_else(|| self.classes.iter().map(last_part).collect::<Vec<_>>().join("+"))
    }
}

/// A row that the published files lack although their own rule would keep it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Erratum {
    /// The split it is missing from.
    pub split: Split,
    /// The tasks (0-based) whose file lacks it.
    pub tasks: Vec<usize>,
    /// The row's number in the full corpus file, 0-based.
    pub row: usize,
    /// The row's image, which confirms that the corpus is the intended one.
    pub image: String,
}

/// A parsed protocol file. [`Protocol::tasks`] checks it against a corpus.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Protocol {
    /// Name of the benchmark, which becomes a folder and a dataset config.
    pub name: String,
    /// Name of the corpus that it cuts into tasks.
    pub corpus: String,
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
    /// The tasks one by one, as an alternative to `n_tasks`.
    #[serde(rename = "tasks", default)]
    listed: Vec<TaskSpec>,
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
        Self::parse(&fs_err::read_to_string(name_or_path)?)
    }

    /// Parses the text of a protocol file.
    ///
    /// # Errors
    /// The text is not TOML, or has unknown or ill-typed keys; the message names the line.
    pub fn parse(text: &str) -> Result<Self> {
        let mut protocol: Self = toml::from_str(text).map_err(|error| Error::protocol("file", error.to_string()))?;
        protocol.text = text.to_owned();
        protocol.check_keys()?;
        Ok(protocol)
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
        let name_ok =
            !self.name.is_empty() && self.name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
        let listed = !self.listed.is_empty();
        let cut = self.n_tasks.is_some() || self.order_seed.is_some() || self.classes.is_some();
        for (wrong, key, reason) in [
            (!name_ok, "name", "letters, digits, `-`, `_` and `.` only: it becomes a folder and a config name"),
            (listed && cut, "tasks", "listed beside `classes`, `order_seed` or `n_tasks`; give one or the other"),
            (!listed && self.n_tasks.is_none(), "n_tasks", "missing: give `n_tasks`, or list `[[tasks]]`"),
            (self.n_tasks == Some(0), "n_tasks", "must be at least 1"),
        ] {
            if wrong {
                return Err(Error::protocol(key, reason));
            }
        }
        Ok(())
    }

    /// Checks that the keys suit the corpus's kind of annotation.
    fn check_task(&self, task: Extraction) -> Result<()> {
        let re = task == Extraction::Relations;
        for (wrong, key, reason) in [
            (re && self.masking.is_some(), "masking", "is for entity tags; a relation row has one label"),
            (re && !self.priority.is_empty(), "priority", "is for entity types; a relation row has one owner"),
            (!re && self.priority.is_empty(), "priority", "missing: list the entity types, the owning one first"),
        ] {
            if wrong {
                return Err(Error::protocol(key, reason));
            }
        }
        Ok(())
    }

    /// Returns the tasks, checked against the classes that `corpus` defines and uses.
    ///
    /// # Errors
    /// A key does not suit the corpus; a class is unknown, in two tasks, or used by the corpus but neither in a task nor dropped; a task is empty;
    /// `priority` is not a list of all entity types. Messages name the key.
    pub fn tasks(&self, corpus: &Corpus) -> Result<Vec<TaskSpec>> {
        if corpus.spec.name != self.corpus {
            let reason = format!("is `{}`, but the files read are `{}`", self.corpus, corpus.spec.name);
            return Err(Error::protocol("corpus", reason));
        }
        self.check_task(corpus.spec.task)?;
        let known = |key: String, class: &String| {
            if corpus.classes.contains(class) {
                return Ok(());
            }
            let hint = hint(class, corpus.classes.iter().map(String::as_str));
            Err(Error::protocol(
                key,
                format!("unknown class `{class}`{hint}; the corpus has {}", corpus.classes.join(", ")),
            ))
        };
        for (i, class) in self.drop.iter().enumerate() {
            known(format!("drop[{i}]"), class)?;
        }
        let tasks = if self.listed.is_empty() { self.cut(corpus)? } else { self.listed.clone() };
        let mut task_of: BTreeMap<&str, usize> = BTreeMap::new();
        for (k, task) in tasks.iter().enumerate() {
            let key = if self.listed.is_empty() { "classes".to_owned() } else { format!("tasks[{k}].classes") };
            if task.classes.is_empty() {
                return Err(Error::protocol(key, "is empty"));
            }
            for class in &task.classes {
                known(key.clone(), class)?;
                if self.drop.contains(class) {
                    return Err(Error::protocol(key, format!("`{class}` is also in `drop`")));
                }
                if let Some(first) = task_of.insert(class, k) {
                    return Err(Error::protocol(key, format!("class `{class}` is already in task {first}")));
                }
            }
        }
        let forgotten = |class: &str| !task_of.contains_key(class) && !self.is_dropped(class);
        if let Some((class, rows)) = rows_by_class(corpus).iter().find(|(class, _)| forgotten(class)) {
            let reason = format!("class `{class}` ({rows} rows) is in no task; add it to one, or to `drop`");
            return Err(Error::protocol(if self.listed.is_empty() { "classes" } else { "tasks" }, reason));
        }
        if corpus.spec.task == Extraction::Entities {
            self.check_priority(task_of.keys().copied())?;
        }
        Ok(tasks)
    }

    /// Returns whether `drop` names the class.
    pub fn is_dropped(&self, class: &str) -> bool {
        self.drop.iter().any(|dropped| dropped == class)
    }

    fn check_priority<'a>(&self, classes: impl Iterator<Item = &'a str>) -> Result<()> {
        let mut listed: Vec<&str> = self.priority.iter().map(String::as_str).collect();
        listed.sort_unstable();
        let classes: Vec<&str> = classes.collect();
        if listed == classes {
            return Ok(());
        }
        Err(Error::protocol("priority", format!("must list each class once: {}", classes.join(", "))))
    }

    /// Cuts the class order into `n_tasks` consecutive groups. Where it does not divide evenly, the first groups have one
    /// class more.
    fn cut(&self, corpus: &Corpus) -> Result<Vec<TaskSpec>> {
        let n = self.n_tasks.unwrap_or(1);
        let kept = || corpus.classes.iter().filter(|class| !self.is_dropped(class)).cloned().collect();
        let mut order: Vec<String> = self.classes.clone().unwrap_or_else(kept);
        if n > order.len() {
            return Err(Error::protocol(
                "n_tasks",
                format!("{n} tasks of {} classes: a task would be empty", order.len()),
            ));
        }
        if let Some(seed) = self.order_seed {
            order.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
        }
        let mut rest = order.into_iter();
        let each = rest.len() / n;
        let larger = rest.len() % n;
        let size = |k: usize| each + usize::from(k < larger);
        Ok((0..n).map(|k| TaskSpec { name: None, classes: rest.by_ref().take(size(k)).collect() }).collect())
    }
}

/// Counts the rows of each class over all splits.
fn rows_by_class(corpus: &Corpus) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for instance in Split::ALL.into_iter().flat_map(|split| corpus.split(split)) {
        for class in instance.annotation.classes() {
            *counts.entry(class).or_insert(0) += 1;
        }
    }
    counts
}
