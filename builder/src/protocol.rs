//! Protocol files: TOML that defines a stream of tasks over a corpus. `splits/README.md` explains every key.

use std::collections::BTreeMap;
use std::path::Path;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::Deserialize;

use crate::corpus::{Annotation, Corpus, CorpusKind, Split, TaskKind, sha256_hex};
use crate::error::{Error, Result, hint};

/// The protocols that come with the program, by name.
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
    /// Everything of tasks 0..=k.
    #[default]
    Cumulative,
    /// Only what task k owns.
    PerTask,
}

impl Tests {
    /// The value in a protocol file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cumulative => "cumulative",
            Self::PerTask => "per-task",
        }
    }
}

/// Where rows without any class go: `None` rows (RE), sentences without entities (NER training and validation).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NonePolicy {
    /// Contiguous chunks in file order, one per task.
    Split,
    /// All of them in every task.
    All,
    /// Nowhere.
    Drop,
}

/// Which entity types keep their tags in the training and validation rows of task k (NER).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Masking {
    /// Those of task k; old and future ones become `O`.
    #[default]
    Current,
    /// Those of tasks 0..=k.
    Seen,
    /// All.
    Off,
}

/// A task as a protocol file lists it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskSpec {
    /// Name shown to people; the joined class names if absent.
    pub name: Option<String>,
    /// Relations or entity types introduced here.
    pub classes: Vec<String>,
}

/// A row that the published files lack although their own rule would keep it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Erratum {
    /// The split it is missing from.
    pub split: Split,
    /// The tasks (0-based) whose file lacks it.
    pub tasks: Vec<usize>,
    /// Its 0-based number in the full corpus file.
    pub row: usize,
    /// Its image, as a check that the corpus is the one meant.
    pub image: String,
}

/// A protocol file, parsed; [`Protocol::tasks`] checks it against a corpus.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Protocol {
    /// Benchmark name.
    pub name: String,
    /// The corpus it cuts.
    pub corpus: CorpusKind,
    /// One line for people.
    #[serde(default)]
    pub description: String,
    /// Folder name of the published text layout; the protocol's name if absent.
    pub published: Option<String>,
    /// What test files hold.
    #[serde(default)]
    pub tests: Tests,
    /// Rows without a class; default `split` for RE, `drop` for NER.
    pub none: Option<NonePolicy>,
    /// NER label masking.
    pub masking: Option<Masking>,
    /// NER: which type owns a sentence that holds several, highest first.
    #[serde(default)]
    pub priority: Vec<String>,
    /// Classes that are left out with their rows (RE) or tags (NER).
    #[serde(default)]
    pub drop: Vec<String>,
    /// Rows missing upstream.
    #[serde(default)]
    pub errata: Vec<Erratum>,
    /// The class order, to be cut into `n_tasks`; all classes in the order of their ids if absent.
    classes: Option<Vec<String>>,
    /// Shuffles the class order.
    order_seed: Option<u64>,
    /// Number of tasks, with `classes` and `order_seed`.
    n_tasks: Option<usize>,
    /// The tasks one by one, instead of `n_tasks`.
    #[serde(rename = "tasks", default)]
    listed: Vec<TaskSpec>,
    /// The file's text, for the manifest.
    #[serde(skip)]
    pub text: String,
}

impl Protocol {
    /// Loads a shipped protocol by name, or a file by path.
    ///
    /// # Errors
    /// Unknown name (with the nearest shipped one), unreadable file, unknown or ill-typed keys.
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
    /// TOML that is malformed or holds unknown or ill-typed keys, named with their line.
    pub fn parse(text: &str) -> Result<Self> {
        let mut protocol: Self = toml::from_str(text).map_err(|error| Error::protocol("file", error.to_string()))?;
        protocol.text = text.to_owned();
        protocol.keys_fit()?;
        Ok(protocol)
    }

    /// SHA-256 of the file's text.
    pub fn sha256(&self) -> String {
        sha256_hex(self.text.as_bytes())
    }

    /// Rows without a class: what the file says, or the published rule of its corpus.
    pub fn none_policy(&self) -> NonePolicy {
        self.none.unwrap_or(match self.corpus.task() {
            TaskKind::Re => NonePolicy::Split,
            TaskKind::Ner => NonePolicy::Drop,
        })
    }

    fn keys_fit(&self) -> Result<()> {
        let name_ok =
            !self.name.is_empty() && self.name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
        let re = self.corpus.task() == TaskKind::Re;
        let listed = !self.listed.is_empty();
        let cut = self.n_tasks.is_some() || self.order_seed.is_some() || self.classes.is_some();
        for (wrong, key, reason) in [
            (!name_ok, "name", "letters, digits, `-`, `_` and `.` only: it becomes a folder and a config name"),
            (listed && cut, "tasks", "listed beside `classes`, `order_seed` or `n_tasks`; give one or the other"),
            (!listed && self.n_tasks.is_none(), "n_tasks", "missing: give `n_tasks`, or list `[[tasks]]`"),
            (self.n_tasks == Some(0), "n_tasks", "must be at least 1"),
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

    /// The tasks, checked against the classes that `corpus` defines and uses.
    ///
    /// # Errors
    /// A class in two tasks, an unknown class, a class of the corpus in no task and not dropped, an empty task, a
    /// `priority` that is not the list of all entity types; each names the key.
    pub fn tasks(&self, corpus: &Corpus) -> Result<Vec<TaskSpec>> {
        if corpus.kind != self.corpus {
            return Err(Error::protocol(
                "corpus",
                format!("is {:?}, the files read are {:?}", self.corpus, corpus.kind),
            ));
        }
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
        let mut home: BTreeMap<&str, usize> = BTreeMap::new();
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
                if let Some(first) = home.insert(class, k) {
                    return Err(Error::protocol(key, format!("class `{class}` is already in task {first}")));
                }
            }
        }
        let used = used(corpus);
        if let Some((class, rows)) =
            used.iter().find(|(class, _)| !home.contains_key(**class) && !self.is_dropped(class))
        {
            let reason = format!("class `{class}` ({rows} rows) is in no task; add it to one, or to `drop`");
            return Err(Error::protocol(if self.listed.is_empty() { "classes" } else { "tasks" }, reason));
        }
        self.priority_fits(home.keys().copied())?;
        Ok(tasks)
    }

    /// Whether `drop` names the class.
    pub fn is_dropped(&self, class: &str) -> bool {
        self.drop.iter().any(|dropped| dropped == class)
    }

    fn priority_fits<'a>(&self, classes: impl Iterator<Item = &'a str>) -> Result<()> {
        if self.corpus.task() == TaskKind::Re {
            return Ok(());
        }
        let mut listed: Vec<&str> = self.priority.iter().map(String::as_str).collect();
        listed.sort_unstable();
        let classes: Vec<&str> = classes.collect();
        if listed == classes {
            return Ok(());
        }
        Err(Error::protocol("priority", format!("must list each class once: {}", classes.join(", "))))
    }

    /// `n_tasks` consecutive groups of the class order, the first ones larger by one where it does not divide evenly.
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
        let (each, larger) = (rest.len() / n, rest.len() % n);
        let size = |k: usize| each + usize::from(k < larger);
        Ok((0..n).map(|k| TaskSpec { name: None, classes: rest.by_ref().take(size(k)).collect() }).collect())
    }
}

/// Rows per class over all splits.
fn used(corpus: &Corpus) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for instance in Split::ALL.into_iter().flat_map(|split| corpus.split(split)) {
        for class in classes_of(&instance.annotation) {
            *counts.entry(class).or_insert(0) += 1;
        }
    }
    counts
}

/// The classes a row is annotated with: its relation unless `None`, or its distinct entity types.
pub fn classes_of(annotation: &Annotation) -> Vec<&str> {
    match annotation {
        Annotation::Relation { relation, .. } if relation == "None" => Vec::new(),
        Annotation::Relation { relation, .. } => vec![relation.as_str()],
        Annotation::Entities { tags } => {
            let mut types: Vec<&str> = tags.iter().filter_map(|tag| Some(tag.split_once('-')?.1)).collect();
            types.sort_unstable();
            types.dedup();
            types
        }
    }
}
