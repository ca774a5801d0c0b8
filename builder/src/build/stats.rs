//! What a build counts: `stats.json`, and the summary it prints.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::defects::Defects;
use crate::bio::Tag;
use crate::corpus::{Corpus, Extraction, RecordCounts, Skipped, SourceFile, Split};
use crate::damage::SHOWN;
use crate::dataset::Manifest;
use crate::images::{BadImages, MISSING};
use crate::plan::{BenchmarkPlan, PlannedLabels};

/// Counts of one task; arrays are in the order of [`Split::ALL`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskStats {
    /// Name of the task, as in the manifest.
    pub name: String,
    /// Number of rows in each split.
    pub rows: [usize; 3],
    /// For each relation its rows, for each entity type its entities, in the order of label ids.
    pub classes: Vec<(String, [usize; 3])>,
}

/// Counts of the pictures that rows name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageStats {
    /// Distinct pictures that rows name.
    pub named: usize,
    /// Pictures that were found and decode.
    pub usable: usize,
    /// The other pictures, with the reason, under `split/name` where splits have pictures of their own.
    pub bad: BadImages,
    /// Usable pictures whose file has another extension than the rows say.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub renamed: usize,
    /// Usable pictures whose name is also that of a different file in another folder, which was not used.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub ambiguous: usize,
    /// Where pictures were looked for, below the folder of the corpus or of its pictures; empty unless one was missing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub looked_in: Vec<String>,
    /// Rows of the corpus that have at least one grounding crop.
    pub rows_with_crops: usize,
    /// Why the benchmark was built without the corpus's crops, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crops_dropped: Option<String>,
    /// Counts of crop files; `None` if there was no folder of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crops: Option<CropStats>,
}

impl ImageStats {
    /// Counts the pictures for which there is no file.
    pub fn missing(&self) -> usize {
        self.bad.values().filter(|reason| *reason == MISSING).count()
    }
}

fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// Counts of the crop files that belong to rows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CropStats {
    /// Counts of crops found by visual grounding.
    pub grounding: CropCounts,
    /// Counts of crops found by the object detector.
    pub detected: CropCounts,
}

/// Counts of the crops of one kind.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CropCounts {
    /// Distinct crops that the dictionaries name for the rows.
    pub named: usize,
    /// Crops that were found and decode.
    pub found: usize,
    /// Crops for which there is no file.
    pub missing: usize,
    /// Crops whose file cannot be used, as `split/name`, with the reason.
    pub broken: BadImages,
}

/// What `stats.json` contains: the counts of a whole build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// Counts of each task, in order.
    pub tasks: Vec<TaskStats>,
    /// Known defects of the corpus.
    pub defects: Defects,
    /// Damaged records that were left out.
    pub skipped: Vec<Skipped>,
    /// Counts of the records in the corpus files of each split, in the order of [`Split::ALL`].
    #[serde(default)]
    pub records: [RecordCounts; 3],
    /// Classes of which no row is left, because records were damaged or pictures could not be used.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lost_classes: Vec<String>,
    /// What seems to be wrong with the corpus files but did not stop the build; `mkgc build` prints it on stderr.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Rows of the full corpus that were dropped because of their picture, in the order of [`Split::ALL`].
    pub rows_dropped_for_images: [usize; 3],
    /// Counts of pictures; `None` if there was no folder of them.
    pub images: Option<ImageStats>,
}

/// What was built; it displays as the text that `mkgc build` prints.
#[derive(Debug)]
pub struct Summary {
    /// Folder that the benchmark was written to.
    pub out: PathBuf,
    /// Manifest of the finished folder, as `manifest.json` holds it.
    pub manifest: Manifest,
    /// Counts of its rows and pictures, and the defects of the corpus.
    pub stats: Stats,
    /// What formats changed on the way and how often, as sentences that begin with the file.
    pub notes: Vec<String>,
}

impl TaskStats {
    /// Counts the rows of task `k` of a plan.
    pub(super) fn new(corpus: &Corpus, plan: &BenchmarkPlan, k: usize) -> Self {
        let task = &plan.tasks[k];
        let labels = &plan.labels;
        let mut counts = vec![[0; 3]; labels.names().len()];
        for split in Split::ALL {
            for row in task.split(split) {
                match plan.row_labels(k, split, &corpus.split(split)[row.index].annotation) {
                    PlannedLabels::Relation { relation, .. } => counts[relation][split as usize] += 1,
                    PlannedLabels::Entities { tags, .. } => {
                        tags.iter().for_each(|tag| counts[*tag][split as usize] += 1);
                    }
                }
            }
        }
        let counted = labels.names().iter().zip(counts).filter(|(_, count)| *count != [0; 3]);
        let classes =
            counted.filter_map(|(label, count)| Some((counted_name(labels.kind(), label)?.to_owned(), count)));
        Self {
            name: task.name.clone(),
            rows: Split::ALL.map(|split| task.split(split).len()),
            classes: classes.collect(),
        }
    }
}

/// Returns the name under which a label is counted: a relation under its own, `None` included, and an entity once, by
/// its `B-` tag, under its type.
fn counted_name(kind: Extraction, label: &str) -> Option<&str> {
    match (kind, Tag::parse(label)) {
        (Extraction::Relations, _) => Some(label),
        (Extraction::Entities, Some(Tag::Begin(class))) => Some(class),
        (Extraction::Entities, _) => None,
    }
}

/// Writes what the summary says of pictures.
fn write_images(f: &mut fmt::Formatter<'_>, images: &ImageStats) -> fmt::Result {
    let ImageStats { named, usable, bad, rows_with_crops, .. } = images;
    let bad = bad.len();
    writeln!(
        f,
        "images: {usable} of {named} usable, {bad} missing or broken (listed in stats.json); {rows_with_crops} rows with crops"
    )?;
    if !images.looked_in.is_empty() {
        writeln!(f, "{} images are in none of these folders: {}", images.missing(), images.looked_in.join(", "))?;
    }
    if images.renamed > 0 {
        writeln!(f, "{} images have a file with another extension than the rows say", images.renamed)?;
    }
    if images.ambiguous > 0 {
        writeln!(
            f,
            "{} images are different files in several folders; those of the first folder were used (if that is wrong, give each \
             picture a name of its own)",
            images.ambiguous
        )?;
    }
    match &images.crops_dropped {
        Some(reason) => writeln!(f, "no crops: {reason}"),
        None => Ok(()),
    }
}

/// Says whether the corpus files are as published; says nothing of files that are not known.
pub fn published(sources: &[SourceFile]) -> Option<String> {
    let names = |published: bool| {
        let files = sources.iter().filter(|file| file.published == Some(published));
        files.map(|file| file.name.as_str()).collect::<Vec<_>>()
    };
    match (names(true).len(), names(false).as_slice()) {
        (0, []) => None,
        (known, []) if known == sources.len() => Some("The corpus files are as published".to_owned()),
        (_, []) => Some(format!("These corpus files are as published: {}", names(true).join(", "))),
        (_, others) => Some(format!("These corpus files are not as published: {}", others.join(", "))),
    }
}

/// Says how many records of a split were left out, and which share that is.
pub fn skipped_sentence(split: Split, counts: RecordCounts) -> String {
    let share = 100.0 * counts.skipped as f64 / counts.read as f64;
    format!("{} of {} {split} records ({share:.2} %) are damaged and left out", counts.skipped, counts.read)
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", self.manifest.name, self.out.display())?;
        writeln!(f, "{:<6}{:>8}{:>12}{:>8}  classes", "task", "train", "validation", "test")?;
        for (k, (task, stats)) in self.manifest.tasks.iter().zip(&self.stats.tasks).enumerate() {
            let [train, validation, test] = stats.rows;
            writeln!(f, "{k:<6}{train:>8}{validation:>12}{test:>8}  {}", task.classes.join(", "))?;
        }
        match &self.stats.images {
            None => writeln!(f, "images: no folder found, text only")?,
            Some(images) => write_images(f, images)?,
        }
        if let Some(crops) = self.stats.images.as_ref().and_then(|images| images.crops.as_ref()) {
            for (kind, counts) in [("grounding", &crops.grounding), ("detected", &crops.detected)] {
                let CropCounts { named, found, missing, broken } = counts;
                let broken = broken.len();
                writeln!(f, "{kind} crops: {found} of {named} usable, {missing} missing, {broken} broken")?;
            }
        }
        let dropped: usize = self.stats.rows_dropped_for_images.iter().sum();
        if dropped > 0 {
            writeln!(f, "dropped {dropped} rows for their images")?;
        }
        for note in &self.notes {
            writeln!(f, "{note}")?;
        }
        for skipped in self.stats.skipped.iter().take(SHOWN) {
            writeln!(f, "skipped {}:{}: {}", skipped.file, skipped.line, skipped.reason)?;
        }
        if let Some(published) = published(&self.manifest.sources) {
            writeln!(f, "{published}")?;
        }
        writeln!(f, "skipped {} damaged records", self.stats.skipped.len())?;
        writeln!(f, "fingerprint {}", self.manifest.fingerprint)
    }
}
