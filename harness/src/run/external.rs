//! Where the predictions of a run come from whose model was trained outside mkgc.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where the predictions of an external run come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExternalRecord {
    /// What the model is, in words.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub description: Option<String>,
    /// Where to read more.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub url: Option<String>,
    /// The files scored.
    pub predictions: Vec<PredictionsRecord>,
}

/// A file of predictions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PredictionsRecord {
    /// Its name, without folders.
    pub name: String,
    /// Its SHA-256.
    pub sha256: String,
}
