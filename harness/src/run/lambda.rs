//! How EWC's λ was chosen (`methods::ewc`), as `run.json` and checkpoints hold it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How EWC's λ was chosen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LambdaChoice {
    /// The λ that was kept: the best by micro-F1, the smallest of equals.
    pub lambda: f64,
    /// Validation rows it was chosen by, those of the first two tasks.
    pub validation_rows: usize,
    /// Every value tried, the smallest first.
    pub scores: Vec<LambdaScore>,
}

/// What a λ reached on the validation rows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LambdaScore {
    /// The λ that was tried: of the setting `ewc_grid`, or beyond it, where its largest value might have been the best.
    pub lambda: f64,
    /// Micro-F1 after the second task; 0 where training diverged.
    pub micro_f1: f64,
}
