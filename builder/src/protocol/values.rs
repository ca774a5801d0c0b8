//! The values that keys of a protocol file take.

use std::collections::BTreeSet;

use serde::Deserialize;

use crate::corpus::Split;

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
    /// The types of task k keep their tags.
    #[default]
    Current,
    /// The types of tasks `0..=k` keep their tags.
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
    /// Returns the names of tasks that are shown to people: the given ones, or else the joined class names. Of classes that
    /// are paths, such as `/per/org/member_of`, the last part is enough, unless it gives two tasks one name.
    pub fn display_names(tasks: &[Self]) -> Vec<String> {
        let named = |of_class: fn(&str) -> &str| -> Vec<String> {
            let joined = |task: &Self| task.classes.iter().map(|class| of_class(class)).collect::<Vec<_>>().join("+");
            tasks.iter().map(|task| task.name.clone().unwrap_or_else(|| joined(task))).collect()
        };
        let short =
            named(|class| if class.starts_with('/') { class.rsplit('/').next().unwrap_or(class) } else { class });
        let distinct = short.iter().collect::<BTreeSet<_>>().len() == short.len();
        if distinct { short } else { named(|class| class) }
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
