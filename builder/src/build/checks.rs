//! Whether the corpus files are the right ones: what stops a build unless it is allowed by name, and what is only warned
//! about.

use std::collections::BTreeMap;

use super::defects::same_rows;
use super::options::{Allowed, BuildOptions};
use super::stats::{ImageStats, skipped_sentence};
use crate::corpus::{self, Corpus, Extraction, Split};
use crate::error::{Error, Result};
use crate::protocol::Protocol;

/// Share of the records of a split that may be left out without being allowed.
const SKIPPED_SHARE: f64 = 0.01;

/// Names of classes, in lower case, that elsewhere mean "no class".
const NONE_NAMES: [&str; 10] =
    ["none", "na", "n/a", "other", "no_relation", "no relation", "norelation", "no-relation", "null", "nil"];

/// Rows of each class in each split.
pub type RowsByClass = BTreeMap<String, [usize; 3]>;

/// Gathers what is wrong, so that one build shows all of it.
pub struct Checks<'a> {
    options: &'a BuildOptions,
    protocol: &'a Protocol,
    /// What is wrong and stops the build.
    refusals: Vec<String>,
    /// What is wrong but was allowed, or is too little to stop the build.
    pub warnings: Vec<String>,
    /// Classes of which no row is left.
    pub lost: Vec<String>,
}

impl<'a> Checks<'a> {
    /// Makes checks that have found nothing wrong yet.
    pub fn new(options: &'a BuildOptions, protocol: &'a Protocol) -> Self {
        Self { options, protocol, refusals: Vec::new(), warnings: Vec::new(), lost: Vec::new() }
    }

    /// Checks the rows of a corpus before any picture is read.
    ///
    /// # Errors
    /// Something is wrong that the options do not allow; the message names all of it with the flags that allow it.
    pub fn check_corpus(&mut self, corpus: &Corpus) -> Result<()> {
        for split in Split::ALL {
            let counts = corpus.records[split as usize];
            if counts.skipped > 0 {
                let skipped = skipped_sentence(split, counts);
                if counts.skipped as f64 <= SKIPPED_SHARE * counts.read as f64 {
                    self.warnings.push(skipped);
                } else {
                    self.find(Allowed::Skipped, skipped, "see what is wrong with them without --on-error skip");
                }
            }
        }
        let lost = corpus.lost.iter().filter(|class| !self.protocol.is_dropped(class)).cloned().collect();
        self.lose(lost, "every record of it is damaged", "mend the files");
        for (one, other) in
            [(Split::Train, Split::Validation), (Split::Train, Split::Test), (Split::Validation, Split::Test)]
        {
            let rows = corpus.split(one);
            if same_rows(rows, corpus.split(other)) {
                let found = format!("{one} and {other} hold the same {} rows", rows.len());
                self.find(Allowed::EqualSplits, found, "give each split files of its own");
            }
        }
        self.warn_of_none_names(corpus);
        self.warn_of_untrained(corpus);
        self.refuse()
    }

    /// Checks that at least one of the pictures that rows name can be used.
    ///
    /// # Errors
    /// None of them can be used, and the options do not allow it.
    pub fn check_pictures(&mut self, images: &ImageStats) -> Result<()> {
        if images.named > 0 && images.usable == 0 {
            let first = images.bad.iter().next().map_or_else(String::new, |(name, reason)| format!("{name}: {reason}"));
            let found = format!("none of the {} pictures that rows name can be used ({first})", images.named);
            self.find(Allowed::NoPictures, found, "give the folder of the pictures with --images");
        }
        self.refuse()
    }

    /// Checks which classes have lost rows with their pictures, given the rows before and after.
    ///
    /// # Errors
    /// No row of a class is left, and the options do not allow it.
    pub fn check_dropped(&mut self, before: &RowsByClass, after: &RowsByClass) -> Result<()> {
        let left = |class: &str| after.get(class).copied().unwrap_or_default();
        let mut lost = Vec::new();
        for (class, rows) in before.iter().filter(|(class, _)| !self.protocol.is_dropped(class)) {
            let left = left(class);
            if left == [0; 3] {
                lost.push(class.clone());
                continue;
            }
            for split in Split::ALL.into_iter().filter(|split| rows[*split as usize] > 0 && left[*split as usize] == 0)
            {
                self.warnings.push(format!("no {split} row of class `{class}` is left without those of bad pictures"));
            }
        }
        let remedy = "add the pictures, or keep the rows with --on-bad-image placeholder";
        self.lose(lost, "the pictures of all its rows are missing or broken", remedy);
        self.refuse()
    }

    /// Warns of classes that no method can learn, because none of their rows is for training.
    fn warn_of_untrained(&mut self, corpus: &Corpus) {
        for (class, [train, validation, test]) in rows_by_class(corpus) {
            if train == 0 && !self.protocol.is_dropped(&class) {
                self.warnings.push(format!(
                    "class `{class}` has no training row, but {validation} of validation and {test} of test; mend the \
                     files, or write `drop = [\"{class}\"]`"
                ));
            }
        }
    }

    fn lose(&mut self, classes: Vec<String>, why: &str, remedy: &str) {
        for class in classes {
            self.find(Allowed::LostClass, format!("no row of class `{class}` is left: {why}"), remedy);
            self.lost.push(class);
        }
    }

    /// Adds what is wrong: as a warning if it is allowed, else as what stops the build.
    fn find(&mut self, what: Allowed, found: String, remedy: &str) {
        if self.options.allow.contains(&what) {
            self.warnings.push(found);
        } else {
            self.refusals.push(format!("{found}; {remedy}, or build all the same with --allow {}", what.name()));
        }
    }

    fn refuse(&mut self) -> Result<()> {
        if self.refusals.is_empty() {
            return Ok(());
        }
        let refusals = std::mem::take(&mut self.refusals);
        let separator = if refusals.len() == 1 { "" } else { "\n  " };
        Err(Error::dataset(&self.options.raw, format!("{separator}{}", refusals.join("\n  "))))
    }

    /// Warns of classes whose name means "no class" in other corpora. The classes of known corpora are what they are.
    fn warn_of_none_names(&mut self, corpus: &Corpus) {
        let known = corpus::find(&corpus.spec.name).map(|spec| spec.classes).unwrap_or_default();
        for class in &corpus.classes {
            let suspicious = NONE_NAMES.contains(&class.to_lowercase().as_str());
            if suspicious && !known.contains(class) && !self.protocol.is_dropped(class) {
                let remedy = match corpus.spec.task {
                    Extraction::Relations => format!("write `none = \"{class}\"` into the `[corpus]` table"),
                    Extraction::Entities => format!("write `drop = [\"{class}\"]`, and its tags become O"),
                };
                self.warnings.push(format!(
                    "`{class}` is learned as a class, but its name looks like \"no class\"; if that is what it means, {remedy}"
                ));
            }
        }
    }
}

/// Counts the rows of each class in each split.
pub fn rows_by_class(corpus: &Corpus) -> RowsByClass {
    let mut counts = RowsByClass::new();
    for split in Split::ALL {
        for class in corpus.split(split).iter().flat_map(|row| row.annotation.classes()) {
            match counts.get_mut(class) {
                Some(rows) => rows[split as usize] += 1,
                None => drop(counts.insert(class.to_owned(), one(split))),
            }
        }
    }
    counts
}

fn one(split: Split) -> [usize; 3] {
    Split::ALL.map(|other| usize::from(other == split))
}
