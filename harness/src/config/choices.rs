//! The values that some settings choose among.

use mkgc_models::inputs::Visual;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the rates go over the steps of a phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Schedule {
    /// The same at every step.
    #[default]
    Constant,
    /// From 0 up to the rate over `warmup`, then down to 0 (default of MKGformer).
    Linear,
}

/// What the vision stream is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum VisualSetting {
    /// Crops where the benchmark came with some, else whole images (default).
    Auto,
    /// The vision stream sees whole images.
    Image,
    /// The vision stream sees the crops of each row.
    Crops,
    /// A control: zeros, as an absent crop is, in the form that `auto` picks.
    Blank,
    /// A control: the pictures of another row of the same split, drawn by `train_seed`, in the form that `auto` picks.
    Shuffled,
}

impl VisualSetting {
    /// Returns the form of the network's input on a benchmark with crops or without.
    pub fn form(self, has_crops: bool) -> Visual {
        match self {
            Self::Crops => Visual::Crops,
            Self::Auto | Self::Blank | Self::Shuffled if has_crops => Visual::Crops,
            Self::Image | Self::Auto | Self::Blank | Self::Shuffled => Visual::Image,
        }
    }

    /// Describes what a control shows; none for the rows' own pictures.
    pub fn control(self) -> Option<&'static str> {
        match self {
            Self::Auto | Self::Image | Self::Crops => None,
            Self::Blank => Some("blank images"),
            Self::Shuffled => Some("shuffled images"),
        }
    }
}

/// Which states of the text a relation head reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum HeadInput {
    /// Those of the two opening markers (default of text methods and of MKGformer).
    Markers,
    /// That of `[CLS]` (default of methods with two streams side by side).
    Cls,
}

/// Which labels compete in the training loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Softmax {
    /// Labels of the tasks seen so far (default).
    Seen,
    /// Every label of the benchmark, also future ones.
    All,
    /// Labels of the current task only (and `None`/`O`).
    Current,
}

/// How EMR mixes memory with the current batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Replay {
    /// A step on one old task's memory, then a step on the current batch (default).
    Alternate,
    /// One step on both together.
    Concat,
}

/// What a word labelled `O` in a replayed sentence means (NER): its sentence was annotated before newer types existed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ReplayO {
    /// Unknown: the loss sums over every seen tag there (default).
    Mask,
    /// A stored `O` counts as `O`.
    Keep,
}

/// Which rows of a task are stored (replay methods).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Selection {
    /// Per class, the rows nearest to the centroids of k-means over the features (default).
    Kmeans,
    /// Per class, rows drawn at random.
    Random,
}
