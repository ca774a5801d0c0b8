//! `checkpoint/`: what a run needs to go on in another process. `state.json` is a method's state after the last finished
//! task, `task.json` what has been done of the task after it. Each names a file of tensors.
//!
//! The tensors are written and reach the disk before the index that names them, and the index appears by a rename, so a
//! process that is killed at any point leaves the checkpoint before whole. Of both kinds the two newest are kept:
//! `state.before.json` and `task.before.json` take the place of one that is damaged. A file of tensors is named after the
//! CRC-32C of its bytes, by which damage is found.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read};
use std::path::Path;

use candle_core::{Device, Tensor, safetensors};
use mkgc_builder::files::is_plain_name;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::log::LogState;
use super::record::Cost;
pub use super::state::State;
use crate::console::note;
use crate::error::Result;
use crate::files::{unwritable, write_json_durably};

/// The contents of a checkpoint after a task.
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

/// The contents of a checkpoint inside a task.
pub struct Inside {
    /// The task in progress, 0-based.
    pub task: usize,
    /// The parts of the task that are done, in order.
    pub done: Vec<DonePart>,
    /// Tensors of the part in progress.
    pub state: State,
    /// Counts and positions of generators of the part in progress, by name.
    pub numbers: BTreeMap<String, u64>,
    /// State of the log, from which its lines of the task go on.
    pub log: LogState,
    /// Wall time of the run so far, in seconds.
    pub seconds: f64,
}

/// A part of a task that is done.
#[derive(Debug, Clone, Default)]
pub struct DonePart {
    /// What the method calls the part, by which it is found again: `phase …` or `value …`.
    pub name: String,
    /// Optimiser steps that it took.
    pub steps: usize,
    /// What it came to, besides changes of the network.
    pub value: State,
}

/// A file of tensors in the folder.
#[derive(Serialize, Deserialize)]
struct TensorFile {
    tensors: String,
    /// CRC-32C of its bytes; not known of older checkpoints.
    #[serde(default)]
    sum: Option<u32>,
}

#[derive(Serialize, Deserialize)]
struct StateIndex {
    stage: usize,
    #[serde(flatten)]
    file: TensorFile,
    memory: Vec<Vec<String>>,
    cost: Cost,
}

#[derive(Serialize, Deserialize)]
struct InsideIndex {
    task: usize,
    #[serde(flatten)]
    file: TensorFile,
    /// Name and steps of each part that is done; the tensors of its value are `N/name` in the file.
    done: Vec<(String, usize)>,
    numbers: BTreeMap<String, u64>,
    log: LogState,
    seconds: f64,
}

/// An index file, which names a file of tensors.
trait Index: Serialize + DeserializeOwned {
    /// Name of the index without `.json`.
    const NAME: &'static str;

    fn file(&self) -> &TensorFile;
}

impl Index for StateIndex {
    const NAME: &'static str = "state";

    fn file(&self) -> &TensorFile {
        &self.file
    }
}

impl Index for InsideIndex {
    const NAME: &'static str = "task";

    fn file(&self) -> &TensorFile {
        &self.file
    }
}

/// Writes a checkpoint after a task.
///
/// # Errors
/// The folder cannot be written; then the checkpoint before is still there.
pub fn save(folder: &Path, saved: &Saved) -> Result<()> {
    let stage = saved.stage;
    let file = write_tensors(folder, &format!("stage_{stage}"), saved.state.tensors.clone())?;
    install(folder, &StateIndex { stage, file, memory: saved.memory.clone(), cost: saved.cost.clone() })
}

/// Writes a checkpoint inside a task.
///
/// # Errors
/// The folder cannot be written; then the checkpoint before is still there.
pub fn save_inside(folder: &Path, inside: &Inside) -> Result<()> {
    let Inside { task, numbers, log, seconds, .. } = inside;
    let mut tensors = inside.state.tensors.clone();
    for (number, part) in inside.done.iter().enumerate() {
        tensors.extend(part.value.tensors.iter().map(|(name, value)| (format!("{number}/{name}"), value.clone())));
    }
    let file = write_tensors(folder, &format!("task_{task}"), tensors)?;
    let done = inside.done.iter().map(|part| (part.name.clone(), part.steps)).collect();
    let numbers = numbers.clone();
    let log = log.clone();
    install(folder, &InsideIndex { task: *task, file, done, numbers, log, seconds: *seconds })
}

/// Reads the last whole checkpoint after a task; none if there is none. Says so if a newer one is damaged.
///
/// # Errors
/// A file of the checkpoint cannot be reached; the device is out of memory.
pub fn load(folder: &Path, device: &Device) -> Result<Option<Saved>> {
    let Some((index, tensors)) = newest::<StateIndex>(folder, device, |_| true)? else { return Ok(None) };
    let StateIndex { stage, memory, cost, .. } = index;
    Ok(Some(Saved { stage, state: State { tensors }, memory, cost }))
}

/// Reads the last whole checkpoint inside a task; none if there is none of this task. Says so if a newer one is damaged.
///
/// # Errors
/// A file of the checkpoint cannot be reached; the device is out of memory.
pub fn load_inside(folder: &Path, task: usize, device: &Device) -> Result<Option<Inside>> {
    let of_task = |index: &InsideIndex| index.task == task;
    let Some((index, mut tensors)) = newest::<InsideIndex>(folder, device, of_task)? else { return Ok(None) };
    let mut parts = Vec::new();
    for (number, (name, steps)) in index.done.into_iter().enumerate() {
        let prefix = format!("{number}/");
        let own: Vec<String> = tensors.keys().filter(|name| name.starts_with(&prefix)).cloned().collect();
        let own = own.into_iter().filter_map(|name| Some((name[prefix.len()..].to_owned(), tensors.remove(&name)?)));
        let value = State { tensors: own.collect() };
        parts.push(DonePart { name, steps, value });
    }
    let InsideIndex { task, numbers, log, seconds, .. } = index;
    Ok(Some(Inside { task, done: parts, state: State { tensors }, numbers, log, seconds }))
}

/// Deletes the checkpoints inside a task, because the task is finished or begins anew.
///
/// # Errors
/// A file cannot be deleted.
pub fn remove_inside(folder: &Path) -> Result<()> {
    for path in [current(folder, InsideIndex::NAME), before(folder, InsideIndex::NAME)] {
        if fs_err::exists(&path)? {
            fs_err::remove_file(path)?;
        }
    }
    if fs_err::exists(folder)? { remove_unnamed(folder) } else { Ok(()) }
}

fn current(folder: &Path, name: &str) -> std::path::PathBuf {
    folder.join(format!("{name}.json"))
}

fn before(folder: &Path, name: &str) -> std::path::PathBuf {
    folder.join(format!("{name}.before.json"))
}

/// Writes tensors into the folder under a name that ends in their sum.
fn write_tensors(folder: &Path, name: &str, tensors: BTreeMap<String, Tensor>) -> Result<TensorFile> {
    fs_err::create_dir_all(folder)?;
    let unnamed = folder.join(format!("{name}.part"));
    let written = write_synced(&unnamed, tensors);
    if written.is_err() {
        // Half a file helps nobody, least of all on a full disk.
        fs_err::remove_file(&unnamed).ok();
    }
    let sum = written?;
    let tensors = format!("{name}-{sum:08x}.safetensors");
    fs_err::rename(unnamed, folder.join(&tensors))?;
    Ok(TensorFile { tensors, sum: Some(sum) })
}

/// Writes tensors so that they have reached the disk, and returns the sum of the file.
fn write_synced(path: &Path, tensors: BTreeMap<String, Tensor>) -> Result<u32> {
    let by_name = tensors.into_iter().collect();
    safetensors::save(&by_name, path).map_err(|error| unwritable(path, &error))?;
    fs_err::File::open(path)?.sync_all()?;
    sum_of(path)
}

/// Computes the CRC-32C of a file.
fn sum_of(path: &Path) -> Result<u32> {
    let mut file = fs_err::File::open(path)?;
    let mut buffer = vec![0; 1 << 20];
    let mut sum = 0;
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok(sum);
        }
        sum = crc32c::crc32c_append(sum, &buffer[..read]);
    }
}

/// Makes an index the current one of its kind, the current one that before it, and deletes what no index names.
fn install<I: Index>(folder: &Path, index: &I) -> Result<()> {
    let path = current(folder, I::NAME);
    // A damaged one must not displace the one before, which alone is whole until the new one is written.
    if fs_err::exists(&path)? && whole::<I>(folder, &path)?.is_ok() {
        fs_err::rename(&path, before(folder, I::NAME))?;
    }
    write_json_durably(&path, index)?;
    remove_unnamed(folder)
}

/// Deletes the files of tensors that no index names.
fn remove_unnamed(folder: &Path) -> Result<()> {
    let mut named = Vec::new();
    for name in [StateIndex::NAME, InsideIndex::NAME] {
        for path in [current(folder, name), before(folder, name)] {
            match fs_err::read(&path) {
                Ok(index) => named.extend(serde_json::from_slice::<TensorFile>(&index).ok().map(|file| file.tensors)),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                // It may name any of them.
                Err(_) => return Ok(()),
            }
        }
    }
    for entry in fs_err::read_dir(folder)? {
        let path = entry?.path();
        let known = |name: &str| named.iter().any(|named| named == name);
        let is_tensors = path.extension().is_some_and(|extension| extension == "safetensors" || extension == "part");
        if is_tensors && !path.file_name().and_then(|name| name.to_str()).is_some_and(known) {
            fs_err::remove_file(path)?;
        }
    }
    Ok(())
}

/// Reads the newest whole checkpoint of a kind that is `wanted`, with its tensors.
fn newest<I: Index>(
    folder: &Path,
    device: &Device,
    wanted: impl Fn(&I) -> bool,
) -> Result<Option<(I, BTreeMap<String, Tensor>)>> {
    for path in [current(folder, I::NAME), before(folder, I::NAME)] {
        if !fs_err::exists(&path)? {
            continue;
        }
        match whole::<I>(folder, &path)? {
            Ok(index) if wanted(&index) => {
                let tensors = safetensors::load(folder.join(&index.file().tensors), device)?;
                return Ok(Some((index, tensors.into_iter().collect())));
            }
            Ok(_) => {}
            Err(reason) => note(format_args!(
                "warning: {reason}; the run goes on from the checkpoint before it or, without one, from the beginning"
            )),
        }
    }
    Ok(None)
}

/// Reads an index whose file of tensors is whole, or says what is damaged.
///
/// # Errors
/// A file is there and cannot be read. It may be whole, so nobody may take its place.
fn whole<I: Index>(folder: &Path, path: &Path) -> Result<std::result::Result<I, String>> {
    let damaged =
        |path: &Path, reason: &str| Ok(Err(format!("{}: the checkpoint is damaged: {reason}", path.display())));
    let Ok(index) = serde_json::from_slice::<I>(&fs_err::read(path)?) else {
        return damaged(path, "it is cut off or was changed");
    };
    let TensorFile { tensors, sum } = index.file();
    if !is_plain_name(tensors) {
        return damaged(path, "it names a file outside its folder");
    }
    let file = folder.join(tensors);
    if !fs_err::exists(&file)? {
        return damaged(&file, "the file is missing");
    }
    let same = match sum {
        Some(sum) => sum_of(&file)? == *sum,
        None => safetensors::load_buffer(&fs_err::read(&file)?, &Device::Cpu).is_ok(),
    };
    if same { Ok(Ok(index)) } else { damaged(&file, "its bytes are not those that were written") }
}

#[cfg(test)]
mod tests;
