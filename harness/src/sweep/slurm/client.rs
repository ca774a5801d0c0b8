//! Calls of Slurm's commands: `scontrol`, `squeue`, `sbatch` and `scancel`.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io::ErrorKind;
use std::process::Command;

use crate::error::{Error, Result};

/// Runs a command and returns what it printed.
pub(super) fn call<S: AsRef<OsStr>>(program: &str, arguments: impl IntoIterator<Item = S>) -> Result<String> {
    let output = Command::new(program).args(arguments).output().map_err(|error| {
        let remedy = "call `mkgc sweep --slurm` where Slurm's commands are, as on a login node of the cluster";
        match error.kind() {
            ErrorKind::NotFound => Error::Usage(format!("`{program}` is not on the PATH; {remedy}")),
            _ => Error::Usage(format!("`{program}` cannot be started: {error}")),
        }
    })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(Error::Usage(format!("`{program}` ended with {}: {}", output.status, said.trim())))
}

/// Returns how many tasks a job array of the cluster may have.
///
/// # Errors
/// Slurm does not answer, or the cluster allows no arrays.
pub(super) fn largest_array() -> Result<usize> {
    let config = call("scontrol", ["show", "config"])?;
    match max_array_size(&config) {
        Some(size) if size > 1 => Ok(size),
        Some(_) => {
            let remedy = "use `mkgc sweep --jobs` inside an allocation";
            Err(Error::Usage(format!("this cluster allows no job arrays (its MaxArraySize is 0 or 1); {remedy}")))
        }
        None => Err(Error::Usage("`scontrol show config` names no MaxArraySize; is this Slurm?".to_owned())),
    }
}

/// Finds `MaxArraySize` among the lines of `scontrol show config`.
fn max_array_size(config: &str) -> Option<usize> {
    let value = |line: &str| {
        let (key, value) = line.split_once('=')?;
        (key.trim() == "MaxArraySize").then(|| value.trim().parse().ok())?
    };
    config.lines().find_map(value)
}

/// Returns the array tasks of this user that wait or run, as job id and index.
pub(super) fn queued() -> Result<BTreeSet<(String, usize)>> {
    let listed = call("squeue", ["--me", "--noheader", "--array", "--format=%F %K"])?;
    let task = |line: &str| {
        let (job, index) = line.trim().split_once(' ')?;
        Some((job.to_owned(), index.trim().parse().ok()?))
    };
    Ok(listed.lines().filter_map(task).collect())
}

/// Calls `sbatch`, whose arguments include `--parsable`, and returns the id of the job.
pub(super) fn submit(arguments: &[String]) -> Result<String> {
    let printed = call("sbatch", arguments)?;
    // `--parsable` prints `ID` or `ID;CLUSTER`.
    Ok(printed.trim().split(';').next().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_of_arrays_is_read_from_the_configuration() {
        let config = "MaxArrayTasks           = 7\nMaxArraySize            = 1001\nMaxJobCount = 10000\n";
        assert_eq!(max_array_size(config), Some(1001));
        assert_eq!(max_array_size("MaxJobCount = 10000"), None);
    }

    #[test]
    fn a_missing_command_is_named_with_the_remedy() {
        let error = call("mkgc-no-such-command", ["a"]).map_err(|error| error.to_string());
        assert!(error.is_err_and(|text| text.contains("`mkgc-no-such-command` is not on the PATH; call `mkgc sweep")));
    }
}
