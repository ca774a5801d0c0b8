//! Tests of checkpoints: what is whole is neither lost nor left for a file elsewhere.

#![allow(clippy::unwrap_used)]
use serde_json::Value;

use super::*;
use crate::files::read_json;

/// Saves a checkpoint after a task, with a tensor that tells it from others.
fn save_after(folder: &Path, stage: usize) {
    let value = Tensor::new(&[stage as f32], &Device::Cpu).unwrap();
    let state = State { tensors: [("a".to_owned(), value)].into() };
    save(folder, &Saved { stage, state, memory: Vec::new(), cost: Cost::default() }).unwrap();
}

fn loaded(folder: &Path) -> Option<usize> {
    load(folder, &Device::Cpu).unwrap().map(|saved| saved.stage)
}

#[test]
fn a_damaged_checkpoint_does_not_displace_the_whole_one_before() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let newest = current(folder, StateIndex::NAME);
    save_after(folder, 0);
    save_after(folder, 1);
    fs_err::write(&newest, "{").unwrap();
    assert_eq!(loaded(folder), Some(0));
    save_after(folder, 2);
    assert_eq!(loaded(folder), Some(2));
    // As if the process had been killed before the newest one was in its place.
    fs_err::remove_file(&newest).unwrap();
    assert_eq!(loaded(folder), Some(0));
}

#[test]
fn an_index_that_names_a_file_outside_its_folder_is_damaged() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("checkpoint");
    save_after(&folder, 0);
    let path = current(&folder, StateIndex::NAME);
    let mut index: Value = read_json(&path).unwrap();
    let outside = place.path().join("outside.safetensors");
    fs_err::copy(folder.join(index["tensors"].as_str().unwrap()), &outside).unwrap();
    for name in ["../outside.safetensors", outside.to_str().unwrap()] {
        index["tensors"] = name.into();
        fs_err::write(&path, index.to_string()).unwrap();
        assert_eq!(loaded(&folder), None, "{name}");
    }
}

#[test]
fn an_index_that_cannot_be_read_for_a_while_loses_no_tensors() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    save_after(folder, 0);
    let path = current(folder, StateIndex::NAME);
    let away = folder.join("away");
    fs_err::rename(&path, &away).unwrap();
    fs_err::create_dir(&path).unwrap();
    remove_inside(folder).unwrap();
    // Nor does the run begin anew, or a new checkpoint take the place of what may be whole.
    assert!(load(folder, &Device::Cpu).is_err());
    let value = Tensor::new(&[1f32], &Device::Cpu).unwrap();
    let state = State { tensors: [("a".to_owned(), value)].into() };
    assert!(save(folder, &Saved { stage: 1, state, memory: Vec::new(), cost: Cost::default() }).is_err());
    fs_err::remove_dir(&path).unwrap();
    fs_err::rename(&away, &path).unwrap();
    assert_eq!(loaded(folder), Some(0));
}

/// A link to itself stands for a file on a share that does not answer: it is neither there nor missing.
#[cfg(unix)]
#[test]
fn what_cannot_be_reached_is_neither_missing_nor_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    save_after(folder, 0);
    save_after(folder, 1);
    let index: Value = read_json(&current(folder, StateIndex::NAME)).unwrap();
    for name in ["state.json", index["tensors"].as_str().unwrap()] {
        let (path, away) = (folder.join(name), folder.join("away"));
        fs_err::rename(&path, &away).unwrap();
        std::os::unix::fs::symlink(name, &path).unwrap();
        let error = load(folder, &Device::Cpu).err().map(|error| error.to_string());
        assert!(error.is_some_and(|error| error.contains(name)), "{name}");
        fs_err::remove_file(&path).unwrap();
        fs_err::rename(&away, &path).unwrap();
        assert_eq!(loaded(folder), Some(1), "{name}");
    }
}
