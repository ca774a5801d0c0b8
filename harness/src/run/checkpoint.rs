//! `checkpoint/`: a method's state after the last finished task. `state.json` is renamed in last and names the tensor
//! file it belongs to, so an interruption between the two writes leaves the checkpoint before it in force.

use std::path::Path;

use candle_core::{Device, safetensors};
use serde::{Deserialize, Serialize};

use super::{read_json, write_json};
use crate::error::Result;
use crate::methods::State;

#[derive(Serialize, Deserialize)]
struct Index {
    stage: usize,
    tensors: String,
    memory: Vec<Vec<String>>,
}

/// Stores the state reached after `stage`.
pub fn save(folder: &Path, stage: usize, state: &State) -> Result<()> {
    fs_err::create_dir_all(folder)?;
    let tensors = format!("stage_{stage}.safetensors");
    let by_name = state.tensors.iter().map(|(name, tensor)| (name.clone(), tensor.clone())).collect();
    safetensors::save(&by_name, folder.join(&tensors))?;
    write_json(&folder.join("state.json"), &Index { stage, tensors, memory: state.memory.clone() })?;
    if stage > 0 {
        let before = folder.join(format!("stage_{}.safetensors", stage - 1));
        if before.exists() {
            fs_err::remove_file(before)?;
        }
    }
    Ok(())
}

/// The last stage stored and its state, if there is one.
pub fn load(folder: &Path, device: &Device) -> Result<Option<(usize, State)>> {
    let path = folder.join("state.json");
    if !path.exists() {
        return Ok(None);
    }
    let index: Index = read_json(&path)?;
    let tensors = safetensors::load(folder.join(&index.tensors), device)?.into_iter().collect();
    Ok(Some((index.stage, State { tensors, memory: index.memory })))
}
