//! `checkpoint/`: a method's state after the last finished task. `state.json` is renamed in last and names the tensor
//! file it belongs to, so an interruption between the two writes leaves the checkpoint before it in force.

use std::path::Path;

use candle_core::{Device, safetensors};
use serde::{Deserialize, Serialize};

use super::record::Cost;
use super::{read_json, write_json};
use crate::error::Result;
use crate::methods::State;

#[derive(Serialize, Deserialize)]
struct Index {
    stage: usize,
    tensors: String,
    memory: Vec<Vec<String>>,
    cost: Cost,
}

/// What a checkpoint holds.
pub struct Saved {
    /// The last task learned.
    pub stage: usize,
    /// The method's state after it.
    pub state: State,
    /// Ids of stored rows, per task.
    pub memory: Vec<Vec<String>>,
    /// What the run had cost by then.
    pub cost: Cost,
}

/// Stores a state.
pub fn save(folder: &Path, saved: &Saved) -> Result<()> {
    let stage = saved.stage;
    fs_err::create_dir_all(folder)?;
    let tensors = format!("stage_{stage}.safetensors");
    let by_name = saved.state.tensors.iter().map(|(name, tensor)| (name.clone(), tensor.clone())).collect();
    safetensors::save(&by_name, folder.join(&tensors))?;
    let index = Index { stage, tensors, memory: saved.memory.clone(), cost: saved.cost.clone() };
    write_json(&folder.join("state.json"), &index)?;
    if stage > 0 {
        let before = folder.join(format!("stage_{}.safetensors", stage - 1));
        if before.exists() {
            fs_err::remove_file(before)?;
        }
    }
    Ok(())
}

/// What was stored last, if anything.
pub fn load(folder: &Path, device: &Device) -> Result<Option<Saved>> {
    let path = folder.join("state.json");
    if !path.exists() {
        return Ok(None);
    }
    let index: Index = read_json(&path)?;
    let tensors = safetensors::load(folder.join(&index.tensors), device)?.into_iter().collect();
    let Index { stage, memory, cost, .. } = index;
    Ok(Some(Saved { stage, state: State { tensors }, memory, cost }))
}
