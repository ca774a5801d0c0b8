//! No row of a report or a gate is silently wrong or missing: damaged runs, links, half-made folders, strange names, files of
//! others, and readers of stdout that have gone.
#![allow(clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;
mod damaged;
mod folders;
mod published;
mod stdout;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// Exit code, stdout and stderr of `mkgc`, outside of GitHub.
fn mkgc(place: &Path, arguments: &[&str], change: impl Fn(&mut Command)) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mkgc"));
    command.env_remove("GITHUB_ACTIONS").env_remove("GITHUB_STEP_SUMMARY").args(arguments).current_dir(place);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    change(&mut command);
    let Output { status, stdout, stderr } = command.spawn().unwrap().wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

/// Cuts a file in the middle.
fn cut(path: PathBuf) {
    let bytes = fs_err::read(&path).unwrap();
    fs_err::write(path, &bytes[..bytes.len() / 2]).unwrap();
}
