//! `metrics.jsonl`: one line per 50 batches of a run and at the end of each phase.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::Result;

/// A line of `metrics.jsonl`: means since the line before.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Line {
    /// 0-based task that the run was learning.
    pub stage: usize,
    /// 0-based pass over the task's rows.
    pub epoch: usize,
    /// Batches taken in this task so far (replay steps not counted).
    pub step: usize,
    /// Mean training loss on current rows.
    pub loss: f64,
    /// Encoder learning rate of the last step.
    pub lr_encoder: f64,
    /// Rows of the task per second of wall time.
    pub samples_per_s: f64,
    /// Resident memory, MiB (0 where the system does not tell).
    pub memory_mib: u64,
    /// Numbers of single steps since the line before: step and value, by name. `rho` is LMC's ρ_vision: what the vision
    /// stream gives the gold labels over what the text stream does (LMC: each step; other methods of two streams: every
    /// 50th). `kappa_text` and `kappa_vision` are the factors of LMC's gradients.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub scalars: BTreeMap<String, Vec<(usize, f32)>>,
}

/// Reads the lines of a `metrics.jsonl`; none where there is no file. Lines that do not parse are left out, because a
/// crash may leave the last one half-written.
///
/// # Errors
/// The file cannot be read.
pub fn read(path: &Path) -> Result<Vec<Line>> {
    if !path.exists() {
        return Ok(Vec::new());
    }
    let bytes = fs_err::read(path)?;
    Ok(bytes.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect())
}
