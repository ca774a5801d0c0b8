//! What a build counts: `stats.json`, and the summary it prints.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::defects::Defects;
use crate::bio::Tag;
use crate::corpus::{Extraction, Skipped, Split};
use crate::dataset::Manifest;
use crate::images::BadImages;
use crate::labels::LabelSet;
use crate::plan::{PlannedLabels, TaskPlan};

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
    /// The other pictures, with the reason.
    pub bad: BadImages,
    /// Rows of the corpus that have at least one grounding crop.
    pub rows_with_crops: usize,
    /// Counts of crop files; `None` if there was no folder of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crops: Option<CropStats>,
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
    /// Rows of the full corpus that were dropped because of their picture, in the order of [`Split::ALL`].
    pub rows_dropped_for_images: [usize; 3],
    /// Counts of pictures; `None` if there was no folder of them.
    pub images: Option<ImageStats>,
}

/// What was built; it displays as the text that `mkgc build` prints.
#[derive(Debug)]
pub struct Summary {
    /// Folder of the benchmark.
    pub out: PathBuf,
    /// Its manifest.
    pub manifest: Manifest,
    /// Counts of its rows and pictures, and the defects of the corpus.
    pub stats: Stats,
}

impl TaskStats {
    /// Counts the rows of a planned task.
    pub(super) fn new(task: &TaskPlan, labels: &LabelSet) -> Self {
        let mut counts = vec![[0; 3]; labels.names().len()];
        for split in Split::ALL {
            for row in task.split(split) {
                match &row.labels {
                    PlannedLabels::Relation { relation, .. } => counts[*relation][split as usize] += 1,
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
            Some(images) => writeln!(
                f,
                "images: {} of {} usable, {} missing or broken (listed in stats.json); {} rows with crops",
                images.usable,
                images.named,
                images.bad.len(),
                images.rows_with_crops
            )?,
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
        for skipped in &self.stats.skipped {
            writeln!(f, "skipped {}:{}: {}", skipped.file, skipped.line, skipped.reason)?;
        }
        writeln!(f, "skipped {} damaged records", self.stats.skipped.len())?;
        writeln!(f, "fingerprint {}", self.manifest.fingerprint)
    }
}
