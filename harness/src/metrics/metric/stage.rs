//! Metrics of one test file, which have a value after each task. More is better for all of them.

use mkgc_builder::corpus::Extraction;

use super::spec::metrics;
use crate::metrics::half::Half;
use crate::metrics::masked::Mask;
use crate::metrics::tally::{Tally, accuracy, macro_f1, micro_f1};
use crate::metrics::value::Value;

/// Which predictions of a run are scored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PredictionSet {
    /// Those that the run stored.
    Stored,
    /// Those that the stored scores give with some classes masked out.
    Masked(Mask),
    /// Those of one half of a two-stream network.
    Half(Half),
}

/// What a metric counts, and so what the test must have for it to be defined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Basis {
    /// The metric counts test rows.
    Rows,
    /// Gold items of the classes seen.
    Items,
    /// Classes seen that have a gold item: the metric is a mean over them.
    Classes,
}

struct StageSpec {
    /// The keys of the value after a task, after the last task, and of the mean over the stages.
    keys: [&'static str; 3],
    /// The titles for relations and for entities.
    titles: [&'static str; 2],
    formula: &'static str,
    predictions: PredictionSet,
    basis: Basis,
    compute: fn(&Tally) -> Value,
}

macro_rules! keys {
    ($key:literal) => {
        [$key, concat!("last_", $key), concat!("average_incremental_", $key)]
    };
}

metrics! {
    /// What is measured on one test file, the main metric first.
    StageMetric: StageSpec {
        /// Micro-F1 over the classes seen, without `None`: the main metric, by which entries are ranked.
        MicroF1 => StageSpec {
            keys: keys!("micro_f1"),
            titles: ["Micro-F1 without None", "Micro span F1"],
            formula: "2 TP / (predicted + gold) over all classes seen; RE without None, NER over exact spans (seqeval)",
            predictions: PredictionSet::Stored,
            basis: Basis::Items,
            compute: micro_f1,
        },
        /// Macro-F1: the unweighted mean of the F1 of each class seen that has a gold item.
        MacroF1 => StageSpec {
            keys: keys!("macro_f1"),
            titles: ["Macro-F1 without None", "Macro span F1"],
            formula: "unweighted mean of the F1 of each class seen that has a test row",
            predictions: PredictionSet::Stored,
            basis: Basis::Classes,
            compute: macro_f1,
        },
        /// Strict accuracy: the share of rows whose label is right, `None` included.
        Accuracy => StageSpec {
            keys: keys!("accuracy"),
            titles: ["Strict accuracy with None", "Accuracy"],
            formula: "share of rows whose label is right, None included; argmax over all classes seen",
            predictions: PredictionSet::Stored,
            basis: Basis::Rows,
            compute: accuracy,
        },
        /// Micro-F1 of the argmax over the classes seen.
        ClassMaskedMicroF1 => StageSpec {
            keys: keys!("class_masked_micro_f1"),
            titles: ["Micro-F1, class-masked", "Micro span F1, class-masked"],
            formula: "micro_f1 of the argmax of the stored scores over None and the relations seen",
            predictions: PredictionSet::Masked(Mask::Class),
            basis: Basis::Items,
            compute: micro_f1,
        },
        /// Macro-F1 of the argmax over the classes seen.
        ClassMaskedMacroF1 => StageSpec {
            keys: keys!("class_masked_macro_f1"),
            titles: ["Macro-F1, class-masked", "Macro span F1, class-masked"],
            formula: "macro_f1 of the argmax of the stored scores over None and the relations seen",
            predictions: PredictionSet::Masked(Mask::Class),
            basis: Basis::Classes,
            compute: macro_f1,
        },
        /// Accuracy of the argmax over the classes seen.
        ClassMaskedAccuracy => StageSpec {
            keys: keys!("class_masked_accuracy"),
            titles: ["Accuracy, class-masked"; 2],
            formula: "accuracy of the argmax of the stored scores over None and the relations seen",
            predictions: PredictionSet::Masked(Mask::Class),
            basis: Basis::Rows,
            compute: accuracy,
        },
        /// Micro-F1 if the task of each row were known.
        TaskMaskedMicroF1 => StageSpec {
            keys: keys!("task_masked_micro_f1"),
            titles: ["Micro-F1, task-masked", "Micro span F1, task-masked"],
            formula: "micro_f1 of the argmax of the stored scores over None and the relations of the row's own task \
                      (van de Ven et al. 2022, task-incremental)",
            predictions: PredictionSet::Masked(Mask::Task),
            basis: Basis::Items,
            compute: micro_f1,
        },
        /// Macro-F1 if the task of each row were known.
        TaskMaskedMacroF1 => StageSpec {
            keys: keys!("task_masked_macro_f1"),
            titles: ["Macro-F1, task-masked", "Macro span F1, task-masked"],
            formula: "macro_f1 of the argmax of the stored scores over None and the relations of the row's own task",
            predictions: PredictionSet::Masked(Mask::Task),
            basis: Basis::Classes,
            compute: macro_f1,
        },
        /// Accuracy if the task of each row were known.
        TaskMaskedAccuracy => StageSpec {
            keys: keys!("task_masked_accuracy"),
            titles: ["Accuracy, task-masked"; 2],
            formula: "accuracy of the argmax of the stored scores over None and the relations of the row's own task",
            predictions: PredictionSet::Masked(Mask::Task),
            basis: Basis::Rows,
            compute: accuracy,
        },
        /// Micro-F1 of the text half.
        TextHalfMicroF1 => StageSpec {
            keys: keys!("text_half_micro_f1"),
            titles: ["Micro-F1 of the text half", "Micro span F1 of the text half"],
            formula: "micro_f1 of what the text stream says alone, W^t h^t + b/2",
            predictions: PredictionSet::Half(Half::Text),
            basis: Basis::Items,
            compute: micro_f1,
        },
        /// Micro-F1 of the vision half.
        VisionHalfMicroF1 => StageSpec {
            keys: keys!("vision_half_micro_f1"),
            titles: ["Micro-F1 of the vision half", "Micro span F1 of the vision half"],
            formula: "micro_f1 of what the vision stream says alone, W^v h^v + b/2",
            predictions: PredictionSet::Half(Half::Vision),
            basis: Basis::Items,
            compute: micro_f1,
        },
    }
}

impl StageMetric {
    /// The metric that tables are ranked by.
    pub const MAIN: Self = Self::MicroF1;

    /// Returns the metrics of one set of predictions.
    pub fn of_predictions(predictions: PredictionSet) -> impl Iterator<Item = Self> {
        Self::ALL.iter().copied().filter(move |metric| metric.predictions() == predictions)
    }

    /// Returns the key of the value after a task.
    pub fn key(self) -> &'static str {
        self.spec().keys[0]
    }

    /// Returns the key of the value after the last task.
    pub(super) fn last_key(self) -> &'static str {
        self.spec().keys[1]
    }

    /// Returns the key of the mean over the stages.
    pub(super) fn average_key(self) -> &'static str {
        self.spec().keys[2]
    }

    /// Returns the title for people, which depends on whether relations or entities are extracted.
    pub fn title(self, task: Extraction) -> &'static str {
        self.spec().titles[usize::from(task == Extraction::Entities)]
    }

    /// Returns the formula and its source, in words.
    pub fn formula(self) -> &'static str {
        self.spec().formula
    }

    /// Returns which predictions are scored.
    pub fn predictions(self) -> PredictionSet {
        self.spec().predictions
    }

    /// Tells whether the metric is of predictions with some classes masked out.
    pub fn masked(self) -> bool {
        matches!(self.predictions(), PredictionSet::Masked(_))
    }

    /// Returns the half of a two-stream network whose predictions are scored; `None` for other predictions.
    pub fn half(self) -> Option<Half> {
        match self.predictions() {
            PredictionSet::Half(half) => Some(half),
            PredictionSet::Stored | PredictionSet::Masked(_) => None,
        }
    }

    /// Returns what the metric counts.
    pub fn basis(self) -> Basis {
        self.spec().basis
    }

    /// Computes the metric from the counts of a stage.
    pub fn compute(self, tally: &Tally) -> Value {
        (self.spec().compute)(tally)
    }
}
