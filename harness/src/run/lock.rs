//! `lock.json`: which process works on a run folder, so that no second one does.
//!
//! The file appears with its content in one operation that fails where it exists already, which every file system has
//! that hosts share, NFS among them. A process that is killed leaves it behind. Whether its process is alive can be told
//! on the same host alone: by its number and the time at which it started or, from another container and where the system
//! does not tell that time, by the lock of the operating system that it holds on the file. A lock of a dead process is
//! taken over. So is one of an earlier start of the same Slurm job, because Slurm starts a job again only where the
//! earlier processes are gone. Any other lock stays until somebody who knows deletes it; the message names the file.

use std::fs::{File, TryLockError};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use chrono::DateTime;
use mkgc_builder::files::host;
use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;

use super::RunFolder;
use crate::error::Result;
use crate::files::{read_json, unwritable};

/// The process that works on a run folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Name of the host that the process runs on.
    pub host: String,
    /// Number of the process on that host.
    pub pid: u32,
    /// When it took the lock, in seconds since the beginning of 1970.
    pub since: u64,
    /// When the process started, in ticks since the host did; empty where the system does not tell.
    #[serde(default)]
    started: String,
    /// Which start of the host this is; empty where the system does not tell.
    #[serde(default)]
    boot: String,
    /// Which processes see each other by their numbers; empty where the system does not tell.
    #[serde(default)]
    namespace: String,
    /// Slurm's number of the job, and how often the job was started before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    job: Option<(String, u32)>,
}

impl Holder {
    /// Describes the present process as the holder of a lock.
    fn here() -> Self {
        let link = |path: &str| std::fs::read_link(path).map(|path| path.display().to_string()).unwrap_or_default();
        let variable = |name: &str| std::env::var(name).ok();
        let restarts = || variable("SLURM_RESTART_COUNT").and_then(|count| count.parse().ok()).unwrap_or_default();
        Self {
            host: host(),
            pid: std::process::id(),
            since: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
            started: started(std::process::id()).unwrap_or_default(),
            boot: std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned(),
            namespace: link("/proc/self/ns/pid"),
            job: variable("SLURM_JOB_ID").map(|job| (job, restarts())),
        }
    }

    /// Returns whether the process is certainly gone.
    fn is_gone(&self, lock: &Path) -> bool {
        let here = Self::here();
        if let (Some((own, times)), Some((job, before))) = (&here.job, &self.job)
            && own == job
            && before < times
        {
            return true;
        }
        if self.host != here.host {
            return false;
        }
        if self.boot != here.boot {
            // The host was started again, unless another host has the same name; then its process holds the file.
            return is_locked(lock) != Some(true);
        }
        if self.namespace != here.namespace {
            return is_locked(lock) == Some(false);
        }
        match started(self.pid) {
            Some(started) => started != self.started,
            // Where the system does not tell when a process started, its number may be another one's by now.
            None => is_locked(lock).map_or_else(|| !exists(self.pid), |locked| !locked),
        }
    }

    /// Returns whether the process certainly runs.
    fn is_alive(&self) -> bool {
        let here = Self::here();
        let seen = self.host == here.host && self.boot == here.boot && self.namespace == here.namespace;
        seen && started(self.pid).is_some_and(|started| started == self.started)
    }

    /// Returns the time of [`Holder::since`] in words.
    pub fn since_text(&self) -> String {
        let time = DateTime::from_timestamp(self.since as i64, 0).unwrap_or_default();
        time.format("%Y-%m-%d %H:%M:%S UTC").to_string()
    }

    /// Says who holds the lock and what to do.
    fn refusal(&self, lock: &Path) -> String {
        let Self { host, pid, .. } = self;
        let since = self.since_text();
        let held = format!("process {pid} on host {host} has worked on it since {since}");
        if self.is_alive() {
            return format!("{held}; wait for its end, or choose another --out");
        }
        let lock = lock.display();
        format!("{held}; wait for its end or, if that process no longer runs, delete {lock} and give the command again")
    }
}

/// Opens a lock file to ask for the operating system's lock on it, which NFS grants on files open for writing alone.
fn open(lock: &Path) -> std::io::Result<File> {
    File::options().read(true).write(true).open(lock).or_else(|_| File::open(lock))
}

/// Returns whether a process holds the operating system's lock on a lock file; none where the system does not tell.
fn is_locked(lock: &Path) -> Option<bool> {
    match open(lock).ok()?.try_lock() {
        Ok(()) => Some(false),
        Err(TryLockError::WouldBlock) => Some(true),
        Err(TryLockError::Error(_)) => None,
    }
}

/// Returns whether this host has a process of this number.
#[cfg(unix)]
fn exists(pid: u32) -> bool {
    let pid = rustix::process::Pid::from_raw(pid as i32);
    pid.is_some_and(|pid| rustix::process::test_kill_process(pid) != Err(rustix::io::Errno::SRCH))
}

/// Returns whether this host has a process of this number, which is not known here.
#[cfg(not(unix))]
fn exists(_: u32) -> bool {
    true
}

/// Returns when a process of this host started, as Linux counts, nothing for one that has ended and is still listed; none
/// elsewhere and of a process that is gone.
fn started(pid: u32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name of the program, in parentheses, may hold spaces; the 22nd field is the 20th after it.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    if fields.next()? == "Z" { Some(String::new()) } else { fields.nth(18).map(str::to_owned) }
}

/// The lock of this process on a run folder, which is given back when it is dropped.
#[derive(Debug)]
pub struct Lock {
    path: PathBuf,
    own: Holder,
    /// Held open with a lock of the operating system, where the file system has any.
    _file: File,
}

/// How often a lock that changes hands meanwhile is looked at.
const LOOKS: usize = 20;

impl Lock {
    /// Takes the lock of a folder, which must exist.
    ///
    /// # Errors
    /// Another process holds it; the folder cannot be written.
    pub fn take(folder: &RunFolder) -> Result<Self> {
        let path = folder.lock();
        let own = Holder::here();
        for _ in 0..LOOKS {
            if let Some(file) = appear(&path, &own, folder)? {
                return Ok(Self { path, own, _file: file });
            }
            let Some(held) = read(&path) else { continue };
            if !held.is_gone(&path) {
                return Err(folder.error(&held.refusal(&path)));
            }
            remove_stale(&path, &held);
        }
        let reason = format!("{} cannot be read; if no process works on the folder, delete the file", path.display());
        Err(folder.error(&reason))
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if read(&self.path).is_some_and(|held| held == self.own) {
            std::fs::remove_file(&self.path).ok();
        }
    }
}

/// Makes the lock file appear with its content; none if there is one.
fn appear(path: &Path, own: &Holder, folder: &RunFolder) -> Result<Option<File>> {
    let failed = |error: std::io::Error| unwritable(path, &error);
    let mut builder = tempfile::Builder::new();
    builder.prefix(".lock-");
    // Everybody who has the folder may read who works on it.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644));
    let mut file = builder.tempfile_in(folder.dir()).map_err(failed)?;
    file.write_all(&serde_json::to_vec(own)?).map_err(failed)?;
    file.as_file().try_lock().ok();
    match NamedTempFile::persist_noclobber(file, path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.error.kind() == ErrorKind::AlreadyExists => Ok(None),
        Err(error) => Err(failed(error.error)),
    }
}

/// Removes the lock of a process that is gone. Two processes that find it at the same time agree by the operating
/// system's lock on the file which of them removes it: the other one then sees another file or none.
fn remove_stale(path: &Path, held: &Holder) {
    let Ok(file) = open(path) else { return };
    if matches!(file.try_lock(), Err(TryLockError::WouldBlock)) {
        std::thread::sleep(std::time::Duration::from_millis(50));
        return;
    }
    if read(path).as_ref() == Some(held) {
        std::fs::remove_file(path).ok();
    }
}

fn read(path: &Path) -> Option<Holder> {
    read_json(path).ok()
}

/// Returns the process that works on a run folder; none if no process does, or one that is certainly gone did.
///
/// # Errors
/// The lock file is there and cannot be read.
pub fn holder(folder: &RunFolder) -> Result<Option<Holder>> {
    let path = folder.lock();
    let held: Holder = match read_json(&path) {
        Err(_) if !path.exists() => return Ok(None),
        held => held?,
    };
    Ok(if held.is_gone(&path) { None } else { Some(held) })
}
