//! The predictions of each half of a network of two streams: `W^t h^t + b/2` or `W^v h^v + b/2`. For entities these
//! emissions are decoded with the CRF. Their plasticity and forgetting show how fast each modality learns and what it loses.

use serde::{Deserialize, Serialize};

use super::labels::LabelsOf;
use super::value::Value;
use crate::run::predictions::PredictionRow;

/// One of the two streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Half {
    /// The half that reads the text encoder.
    #[serde(rename = "text_half")]
    Text,
    /// The half that reads the vision encoder.
    #[serde(rename = "vision_half")]
    Vision,
}

impl Half {
    /// Both halves, in the order of tables.
    pub const ALL: [Self; 2] = [Self::Text, Self::Vision];

    /// Chooses the labels that this half predicted.
    pub(super) fn labels(self) -> LabelsOf {
        match self {
            Self::Text => |row| &row.text,
            Self::Vision => |row| &row.vision,
        }
    }

    /// Tells whether the rows hold predictions of this half.
    pub(super) fn stored(self, rows: &[PredictionRow]) -> bool {
        rows.iter().any(|row| !self.labels()(row).is_empty())
    }
}

/// Returns the value of every metric of a half whose predictions are not stored.
pub(super) fn missing() -> Value {
    Value::undefined("the predictions do not say what one stream gives alone")
}
