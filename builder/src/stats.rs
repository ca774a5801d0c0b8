//! What a build counted: `stats.json`, and the summary it prints.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::corpus::{Skipped, Split};
use crate::dataset::Manifest;
use crate::defects::Defects;
use crate::gather::{CropCounts, ImageStats};
use crate::plan::{Plan, PlannedLabels, TaskPlan};

/// Counts of one task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskStats {
    /// Task name.
    pub name: String,
    /// Rows of train, validation, test.
    pub rows: [usize; 3],
    /// Per label (RE) or entity type (NER, entities): train, validation, test.
    pub classes: Vec<(String, [usize; 3])>,
}

/// `stats.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// Per task.
    pub tasks: Vec<TaskStats>,
    /// Of the corpus.
    pub defects: Defects,
    /// Records left out.
    pub skipped: Vec<Skipped>,
    /// Rows of the full corpus dropped because of their image, by split.
    pub rows_dropped_for_images: [usize; 3],
    /// Pictures; none if there was no image folder.
    pub images: Option<ImageStats>,
}

/// What was built, for people.
#[derive(Debug)]
pub struct Summary {
    pub(crate) out: PathBuf,
    pub(crate) manifest: Manifest,
    pub(crate) stats: Stats,
}

impl TaskStats {
    /// Counts the rows of a planned task.
    pub(crate) fn new(task: &TaskPlan, plan: &Plan) -> Self {
        let mut counts = vec![[0; 3]; plan.labels.len()];
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
        let named = plan.labels.iter().zip(counts);
        // An entity counts once, by its B- tag.
        let classes = named
            .filter(|(label, count)| *count != [0; 3] && *label != "O" && !label.starts_with("I-"))
            .map(|(label, count)| (label.strip_prefix("B-").unwrap_or(label).to_owned(), count))
            .collect();
        Self { name: task.name.clone(), rows: Split::ALL.map(|split| task.split(split).len()), classes }
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
