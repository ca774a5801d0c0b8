//! The typed, validated content of a corpus: what every later module works on.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which supported corpus a file set belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CorpusKind {
    /// MNRE v2, multimodal relation extraction (thecharm/MNRE).
    Mnre,
    /// Twitter-2017, multimodal named-entity recognition (jefferyYu/UMT).
    Twitter2017,
}

impl CorpusKind {
    /// The extraction task this corpus annotates.
    pub fn task(self) -> TaskKind {
        match self {
            Self::Mnre => TaskKind::Re,
            Self::Twitter2017 => TaskKind::Ner,
        }
    }
}

/// Relation extraction or named-entity recognition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TaskKind {
    /// One relation per sentence and entity pair.
    Re,
    /// BIO tags over the words.
    Ner,
}

/// Train, validation or test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// Training rows.
    Train,
    /// Validation rows.
    Validation,
    /// Test rows.
    Test,
}

impl Split {
    /// All three, in file order.
    pub const ALL: [Self; 3] = [Self::Train, Self::Validation, Self::Test];

    /// The name in file names, configs and row ids.
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Validation => "validation",
            Self::Test => "test",
        }
    }
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An entity mention: its text as the corpus gives it and its half-open word span.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mention {
    /// Surface form as written in the corpus.
    pub name: String,
    /// First word, 0-based.
    pub start: usize,
    /// One past the last word.
    pub end: usize,
}

/// What the annotators marked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Annotation {
    /// The relation between two mentions.
    Relation {
        /// First argument.
        head: Mention,
        /// Second argument.
        tail: Mention,
        /// Relation name as in the corpus, e.g. `/per/per/peer` or `None`.
        relation: String,
    },
    /// One BIO tag per word, e.g. `B-PER`, `O`.
    Entities {
        /// As many tags as words.
        tags: Vec<String>,
    },
}

/// One row of a corpus file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// 0-based number of the record in its full split file (the key of the crop dictionaries).
    pub row: usize,
    /// 1-based line where the record starts, for messages.
    pub line: usize,
    /// The words.
    pub tokens: Vec<String>,
    /// Image file name as the corpus gives it (MNRE `img_id`; Twitter-2017 `<id>.jpg`).
    pub image: String,
    /// The gold annotation.
    pub annotation: Annotation,
}

/// A corpus file that was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SourceFile {
    /// File name without folder.
    pub name: String,
    /// Lower-case hexadecimal SHA-256 of its bytes.
    pub sha256: String,
    /// Size in bytes.
    pub bytes: u64,
}

/// A record left out under `--on-error skip`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// File name without folder.
    pub file: String,
    /// 1-based line.
    pub line: usize,
    /// Why, as the error would have said.
    pub reason: String,
}

/// The three split files of a corpus, parsed.
#[derive(Debug, Clone)]
pub struct Corpus {
    /// Which corpus.
    pub kind: CorpusKind,
    /// Every class the corpus may use, without `None`/`O`, in the order of its label ids.
    pub classes: Vec<String>,
    /// Rows of the training file in file order.
    pub train: Vec<Instance>,
    /// Rows of the validation file in file order.
    pub validation: Vec<Instance>,
    /// Rows of the test file in file order.
    pub test: Vec<Instance>,
    /// The files read, in train, validation, test order.
    pub sources: Vec<SourceFile>,
    /// Records left out, in file order.
    pub skipped: Vec<Skipped>,
}

impl Corpus {
    /// The rows of one split.
    pub fn split(&self, split: Split) -> &[Instance] {
        match split {
            Split::Train => &self.train,
            Split::Validation => &self.validation,
            Split::Test => &self.test,
        }
    }
}
