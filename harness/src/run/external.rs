//! Where the predictions of a run come from whose model was trained outside mkgc.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where the predictions of an external run come from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ExternalRecord {
    /// What the model is, in words.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub description: Option<String>,
    /// Address of a page about the model.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub url: Option<String>,
    /// The files of predictions that were scored; none if `mkgc stream` took the predictions.
    pub predictions: Vec<PredictionsRecord>,
    /// How `mkgc stream` dealt out the benchmark, if the model learned and predicted under its eyes.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub stream: Option<Box<StreamRecord>>,
}

/// How `mkgc stream` dealt out a benchmark and what the method did with it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StreamRecord {
    /// Version of the protocol that was spoken.
    pub protocol: u32,
    /// The command that was run; none if the method started mkgc.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub command: Option<String>,
    /// Which rows the method may store.
    pub memory: Budget,
    /// For each task that is learned, how long that took.
    pub phases: Vec<PhaseRecord>,
    /// Requests that were refused, by reason.
    pub refused: BTreeMap<Refusal, usize>,
    /// How many tasks were learned whenever the stream was begun or resumed: `[0]` if it ran through.
    pub started_after: Vec<usize>,
    /// Rows stored after the last task.
    pub stored_rows: usize,
    /// Of these, how many hold each class.
    pub stored_by_class: BTreeMap<String, usize>,
}

/// Which rows a method may store of tasks that it has learned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Budget {
    /// The method may store no row.
    Nothing,
    /// So many rows of each class of each task.
    PerClass(usize),
    /// So many rows in all.
    Total(usize),
    /// The method may store every training row.
    All,
}

impl Budget {
    /// Describes the budget as `run.json` does that of mkgc's own methods, e.g. `10 rows per class`.
    pub fn phrase(self) -> String {
        match self {
            Self::Nothing => "nothing".to_owned(),
            Self::PerClass(rows) => format!("{rows} rows per class"),
            Self::Total(rows) => format!("{rows} rows in all"),
            Self::All => "all rows".to_owned(),
        }
    }
}

/// How long a method took for a task.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PhaseRecord {
    /// From handing out the task until the method asked for the test rows, in seconds.
    pub learn_seconds: f64,
    /// From handing out the test rows until the predictions were there, in seconds.
    pub predict_seconds: f64,
}

/// Why a request was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// A line that is no request.
    Message,
    /// A request out of turn, such as the next task before the predictions of this one.
    Order,
    /// More rows to store than the budget allows.
    Budget,
    /// Rows to store that are neither training rows of the task nor stored already.
    Rows,
    /// Predictions that cannot be scored.
    Predictions,
}

/// A file of predictions that was scored, told from others by its hash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PredictionsRecord {
    /// Name of the file, without its folders.
    pub name: String,
    /// Lower-case hexadecimal SHA-256 of the file's bytes.
    pub sha256: String,
}
