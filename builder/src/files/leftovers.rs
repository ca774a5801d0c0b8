//! What killed processes leave behind. A folder under construction holds a note of the process that builds it, and the
//! process holds a lock on this note. The operating system releases the lock when the process ends, however it ends, so
//! the next build beside the folder can tell that nobody will finish it.
//!
//! Locks are not always visible to other hosts that share the disk. Folders of another host are therefore left alone
//! until they are a week old. Folders without a note are never touched.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::paths::is_plain_name;

/// Names of folders under construction begin with this.
pub(super) const PREFIX: &str = ".mkgc-build-";

/// Returns whether a folder of this name is under construction, or was when its command was killed.
pub fn is_under_construction(name: &str) -> bool {
    name.starts_with(PREFIX)
}

/// The folder that was moved aside to make room for the new one.
pub(super) const OLD: &str = "old";

/// The note in a folder under construction.
const NOTE: &str = "build.json";

/// Age in seconds at which a folder of another host is given up.
const WEEK: u64 = 7 * 24 * 60 * 60;

/// Who builds a folder, and what will become of it.
#[derive(Debug, Serialize, Deserialize)]
struct Note {
    pid: u32,
    host: String,
    /// When the build began, in seconds since the beginning of 1970.
    started: u64,
    /// Name of the finished folder, which will stand beside this one.
    out: String,
}

/// Writes the note into a folder under construction and returns the file, locked until it is closed.
///
/// # Errors
/// The file cannot be written.
pub(super) fn sign(root: &Path, out: &Path) -> io::Result<File> {
    let note = Note {
        pid: std::process::id(),
        host: host(),
        started: now(),
        out: out.file_name().unwrap_or_default().to_string_lossy().into_owned(),
    };
    // The note gets its name only once it is locked, because a note without a lock means that its process is dead. On a
    // disk that knows no locks, nobody can lock it, and the folder counts as one of another host.
    let unlocked = root.join("build.json.new");
    let mut file = fs_err::File::create(&unlocked)?;
    file.try_lock().ok();
    file.write_all(&serde_json::to_vec(&note)?)?;
    fs_err::rename(&unlocked, root.join(NOTE))?;
    Ok(file.into_file())
}

/// Removes the note, so that the folder is left alone from now on.
pub(super) fn unsign(root: &Path) {
    fs::remove_file(root.join(NOTE)).ok();
}

/// Removes the folders beside a new one that dead processes left. If such a process was killed after it moved a folder
/// aside and before it moved the new one in, the old folder is put back. Whatever cannot be removed stays.
pub(super) fn remove_leftovers(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let ours = is_under_construction(&entry.file_name().to_string_lossy());
        if ours && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_leftover(parent, &entry.path()).ok();
        }
    }
}

fn remove_leftover(parent: &Path, root: &Path) -> io::Result<()> {
    let mut file = File::options().read(true).write(true).open(root.join(NOTE))?;
    let locked = file.try_lock();
    if let Err(TryLockError::WouldBlock) = locked {
        return Ok(());
    }
    let note: Note = serde_json::from_reader(&mut file)?;
    let dead_here = locked.is_ok() && note.host == host();
    if !dead_here && now().saturating_sub(note.started) < WEEK {
        return Ok(());
    }
    let old = root.join(OLD);
    let out = parent.join(&note.out);
    if old.exists() && is_plain_name(&note.out) && fs::symlink_metadata(&out).is_err() {
        fs::rename(&old, &out)?;
    }
    // The note goes last: what is left of the folder if this process is killed, too, is still known as a leftover.
    for entry in fs::read_dir(root)? {
        let path = entry?.path();
        if path != root.join(NOTE) {
            remove(path)?;
        }
    }
    drop(file);
    fs::remove_dir_all(root)
}

fn remove(path: PathBuf) -> io::Result<()> {
    if fs::symlink_metadata(&path)?.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs()
}

/// Returns the name of this host.
#[cfg(unix)]
pub fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Returns the name of this host.
#[cfg(not(unix))]
pub fn host() -> String {
    std::env::var("COMPUTERNAME").unwrap_or_default()
}
