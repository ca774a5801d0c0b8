//! `checkpoint/`: a method's state after the last finished task. `state.json` is written last and names its tensor file,
//! so a crash between the two writes leaves the previous checkpoint valid.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{Device, Tensor, safetensors};
use serde::{Deserialize, Serialize};

use super::record::Cost;
use crate::error::Result;
use crate::files::{read_json, write_json};

/// What a method needs to go on in another process, besides its stored rows: tensors by part and name.
#[derive(Debug, Clone, Default)]
pub struct State {
    /// The network's variables by name; tensors of other parts as `part:name`.
    pub tensors: BTreeMap<String, Tensor>,
}

impl State {
    /// Adds the tensors of a part.
    pub fn with(mut self, part: &str, tensors: BTreeMap<String, Tensor>) -> Self {
        self.tensors.extend(tensors.into_iter().map(|(name, tensor)| (format!("{part}:{name}"), tensor)));
        self
    }

    /// Removes the tensors of a part and returns them by name.
    pub fn take(&mut self, part: &str) -> BTreeMap<String, Tensor> {
        let prefix = format!("{part}:");
        let (taken, rest): (BTreeMap<_, _>, BTreeMap<_, _>) =
            std::mem::take(&mut self.tensors).into_iter().partition(|(name, _)| name.starts_with(&prefix));
        self.tensors = rest;
        taken.into_iter().map(|(name, tensor)| (name[prefix.len()..].to_owned(), tensor)).collect()
    }

    /// Returns the network's variables by name.
    pub fn network(&self) -> BTreeMap<String, Tensor> {
        let network = self.tensors.iter().filter(|(name, _)| !name.contains(':'));
        network.map(|(name, tensor)| (name.clone(), tensor.clone())).collect()
    }
}

#[derive(Serialize, Deserialize)]
struct CheckpointIndex {
    stage: usize,
    tensors: String,
    memory: Vec<Vec<String>>,
    cost: Cost,
}

/// The contents of a checkpoint.
pub struct Saved {
    /// The last task learned, 0-based.
    pub stage: usize,
    /// The method's state after it.
    pub state: State,
    /// Ids of stored rows, per task.
    pub memory: Vec<Vec<String>>,
    /// What the run had cost by then.
    pub cost: Cost,
}

/// Writes a checkpoint and deletes the previous one.
///
/// # Errors
/// The folder cannot be written.
pub fn save(folder: &Path, saved: &Saved) -> Result<()> {
    let stage = saved.stage;
    fs_err::create_dir_all(folder)?;
    let tensors = format!("stage_{stage}.safetensors");
    let by_name = saved.state.tensors.iter().map(|(name, tensor)| (name.clone(), tensor.clone())).collect();
    safetensors::save(&by_name, folder.join(&tensors))?;
    let index = CheckpointIndex { stage, tensors, memory: saved.memory.clone(), cost: saved.cost.clone() };
    write_json(&folder.join("state.json"), &index)?;
    if stage > 0 {
        let before = folder.join(format!("stage_{}.safetensors", stage - 1));
        if before.exists() {
            fs_err::remove_file(before)?;
        }
    }
    Ok(())
}

/// Reads the last checkpoint; none if there is none.
///
/// # Errors
/// The checkpoint is damaged.
pub fn load(folder: &Path, device: &Device) -> Result<Option<Saved>> {
    let path = folder.join("state.json");
    if !path.exists() {
        return Ok(None);
    }
    let index: CheckpointIndex = read_json(&path)?;
    let tensors = safetensors::load(folder.join(&index.tensors), device)?.into_iter().collect();
    let CheckpointIndex { stage, memory, cost, .. } = index;
    Ok(Some(Saved { stage, state: State { tensors }, memory, cost }))
}
