//! What each half of a network of two streams says alone, `W^t h^t + b/2` or `W^v h^v + b/2`; NER decodes these emissions
//! with the CRF. Their learning accuracies and forgetting are the pace and the loss of each modality.

use super::Labels;
use super::continual::{Matrix, Mean, Value, forgetting_chaudhry18, learning_accuracy_riemer19};
use crate::run::predictions::PredictionRow;

/// One of the two streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Half {
    /// The text encoder's.
    Text,
    /// The vision encoder's.
    Vision,
}

impl Half {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Text, Self::Vision];

    /// Beginning of the names of its metrics.
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Text => "text_half",
            Self::Vision => "vision_half",
        }
    }

    /// A metric of this half.
    pub fn metric(self, name: &str) -> String {
        format!("{}_{name}", self.prefix())
    }

    /// What it predicted for a row.
    pub(super) fn labels(self) -> Labels {
        match self {
            Self::Text => |row| &row.text,
            Self::Vision => |row| &row.vision,
        }
    }

    /// Do the predictions hold what it says?
    pub(super) fn stored(self, rows: &[PredictionRow]) -> bool {
        rows.iter().any(|row| !self.labels()(row).is_empty())
    }
}

/// Is it a metric of one half?
pub fn of_half(metric: &str) -> bool {
    Half::ALL.iter().any(|half| metric.contains(half.prefix()))
}

/// Why a run has no metric of a half.
pub(super) fn missing() -> Value {
    Value::undefined("the predictions do not say what one stream gives alone")
}

/// A half's metrics of its matrix `R[i][j]`; undefined where there is none.
pub(super) fn continual(half: Half, matrix: Option<&Matrix>) -> [(String, Mean); 2] {
    let of = |name: &str, metric: fn(&Matrix) -> Mean| {
        (half.metric(name), matrix.map_or_else(|| Mean::undefined(missing(), 0), metric))
    };
    [of("learning_accuracy_riemer19", learning_accuracy_riemer19), of("forgetting_chaudhry18", forgetting_chaudhry18)]
}
