//! What the builder has to know of a corpus: its files, classes, parser, folders of pictures, and how to cite it.

use std::sync::Arc;

use super::format::Format;
use super::types::{Extraction, Split};

/// Everything the builder knows of a corpus before it reads its files.
#[derive(Debug, Clone)]
pub struct CorpusSpec {
    /// Name in protocols and manifests.
    pub name: String,
    /// What it is and where it is from, in one line.
    pub about: String,
    /// Whether its annotators marked relations or entities.
    pub task: Extraction,
    /// The files of each split in the corpus folder, in the order of [`Split::ALL`].
    pub files: [SplitFiles; 3],
    /// The format of these files, which turns their bytes into rows.
    pub format: Arc<dyn Format>,
    /// The classes (relations or entity types) in the order of their ids. If empty, every class that occurs is one, in
    /// the order that the files declare or, if they declare none, sorted by name.
    pub classes: Vec<String>,
    /// A JSON object from class name to id. Where the corpus folder has this file, it replaces `classes`.
    pub class_ids: Option<String>,
    /// The corpus's name for "no class", which is not in `classes`; `None` if every row has a class.
    pub none: Option<String>,
    /// Where the corpus keeps its pictures; the default if it has none.
    pub pictures: PictureFolders,
    /// What cards and Croissant files say of the corpus, with its citation.
    pub reference: CorpusReference,
}

/// The files of a split, relative to the corpus folder. Files whose names end in `.gz` are decompressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SplitFiles {
    /// The one file that exists of several published names.
    OneOf(Vec<String>),
    /// All of these, joined in this order; none if the corpus lacks the split.
    All(Vec<String>),
}

/// How to cite a corpus in dataset cards and Croissant files.
#[derive(Debug, Clone)]
pub struct CorpusReference {
    /// Name, authors and address, as Markdown.
    pub origin: String,
    /// Address of the published files.
    pub homepage: String,
    /// The paper that introduced the corpus.
    pub citation: String,
    /// SPDX identifier of the licence, if the corpus states one.
    pub license: Option<String>,
    /// Language of the texts as a BCP 47 tag.
    pub language: String,
    /// Version of the corpus, if it has one.
    pub version: Option<String>,
    /// Date of publication as `YYYY-MM-DD`, or the year alone, if known.
    pub published: Option<String>,
}

/// Where a corpus keeps its pictures and crops. In folder names `{split}` stands for `train`, `val` or `test`; folders of
/// pictures may say `validation`, `valid` or `dev` for `val`.
#[derive(Debug, Clone, Default)]
pub struct PictureFolders {
    /// Folders that may contain the pictures of a split; the first that has a picture of a name provides it.
    pub images: Vec<String>,
    /// Where the crops are, at most one entry per kind.
    pub crops: Vec<CropFolders>,
}

/// Where the crops of one kind are.
#[derive(Debug, Clone)]
pub struct CropFolders {
    /// Whether grounding or a detector found these crops.
    pub kind: CropKind,
    /// The folder, with a folder for each split.
    pub folder: String,
    /// The dictionary of each split, in the order of [`Split::ALL`].
    pub dictionaries: [String; 3],
}

/// Where a crop comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CropKind {
    /// Visual grounding: objects that the sentence mentions.
    Grounding,
    /// An object detector, which sees only the picture.
    Detected,
}

impl CorpusSpec {
    /// Returns the name of label 0, "no class": the corpus's own name, or `None`.
    pub fn none_label(&self) -> &str {
        self.none.as_deref().unwrap_or("None")
    }
}

impl SplitFiles {
    /// Makes the choice between several published names of one file.
    pub fn one_of(names: &[&str]) -> Self {
        Self::OneOf(names.iter().map(|name| (*name).to_owned()).collect())
    }

    /// Returns the names of the files.
    pub fn names(&self) -> &[String] {
        match self {
            Self::OneOf(names) | Self::All(names) => names,
        }
    }
}

impl CropKind {
    /// Both kinds, in the order in which builds write them.
    pub const ALL: [Self; 2] = [Self::Grounding, Self::Detected];

    /// Returns the name used in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Grounding => "grounding",
            Self::Detected => "detected",
        }
    }
}

impl PictureFolders {
    /// Returns the folders that may contain the pictures of a split, relative to the corpus folder.
    pub fn images_of(&self, split: Split) -> impl Iterator<Item = String> {
        let names: &[&str] = match split {
            Split::Train => &["train"],
            Split::Validation => &["val", "validation", "valid", "dev"],
            Split::Test => &["test"],
        };
        self.images.iter().flat_map(move |folder| {
            let names = if folder.contains("{split}") { names } else { &names[..1] };
            names.iter().map(move |name| folder.replace("{split}", name))
        })
    }

    /// Returns where the crops of a kind are, if the corpus has any.
    pub fn crops_of(&self, kind: CropKind) -> Option<&CropFolders> {
        self.crops.iter().find(|crops| crops.kind == kind)
    }
}
