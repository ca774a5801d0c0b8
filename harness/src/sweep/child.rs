//! A child process that makes a single run, and how it ended.

use std::ffi::OsString;
use std::io::{Error, Write};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

use mkgc_builder::files::parent_folder;

use super::one::CHILD;
use super::spec::PlannedRun;
use crate::error::Result;
use crate::run::interrupt::{INTERRUPTED, STOPPED};
use crate::signals;

/// Starts the process of a run: this program with `arguments`, which name the sweep, and the number of the run. What it
/// prints is added to `log`.
///
/// # Errors
/// The log cannot be written; the process cannot be started.
pub(super) fn spawn(
    log: &Path,
    run: &PlannedRun,
    arguments: &[OsString],
    environment: Vec<(&'static str, String)>,
) -> Result<Child> {
    fs_err::create_dir_all(parent_folder(log))?;
    append(log, &format!("== run {} {} {}", run.number, run.hash, run.name))?;
    let log = fs_err::OpenOptions::new().append(true).open(log)?.into_file();
    let mut command = this_program()?;
    command.args(arguments).arg("--run").arg(run.number.to_string());
    command.envs(environment).env(CHILD, "1");
    command.stdin(Stdio::piped()).stdout(log.try_clone()?).stderr(log);
    signals::apart(&mut command);
    let program = command.get_program().display().to_string();
    let named = |error: Error| Error::new(error.kind(), format!("cannot start `{program}`: {error}"));
    Ok(command.spawn().map_err(named)?)
}

/// Returns a command that starts this program, on Linux also after its file was replaced by that of another version: the
/// same one makes all runs of a sweep.
///
/// # Errors
/// The system does not tell where the program is.
pub(super) fn this_program() -> std::io::Result<Command> {
    let program = std::env::current_exe()?;
    // Of a file that is gone, the link leads to what was in it.
    let replaced = program.as_os_str().to_string_lossy().ends_with(" (deleted)");
    Ok(if replaced { Command::new("/proc/self/exe") } else { Command::new(program) })
}

/// Adds a line to a file.
///
/// # Errors
/// The file cannot be written.
pub(super) fn append(log: &Path, line: &str) -> Result<()> {
    let mut file = fs_err::OpenOptions::new().create(true).append(true).open(log)?;
    Ok(writeln!(file, "{line}")?)
}

/// Exit code of a Rust program that panics.
const PANIC: i32 = 101;

/// How the process of a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ending {
    /// The run says that it is finished.
    Done,
    /// The run was told to stop, and saved a checkpoint.
    Interrupted,
    /// The run ended with an error, which it has told, or could not be opened.
    Error,
    /// The program panicked, has told why, and would again.
    Panicked,
    /// Somebody, or the system for want of memory, ended the process; the run can go on. Says how.
    Killed(String),
    /// The process broke, and would break again. Says how.
    Crashed(String),
}

impl Ending {
    /// Tells from an exit status how a process ended.
    pub fn of(status: ExitStatus) -> Self {
        match status.code() {
            Some(0) => Self::Done,
            Some(code) if code == i32::from(INTERRUPTED) => Self::Interrupted,
            Some(STOPPED) => Self::Killed("was stopped at once by a second SIGINT".to_owned()),
            Some(PANIC) => Self::Panicked,
            Some(_) => Self::Error,
            None => Self::by_signal(status),
        }
    }

    #[cfg(unix)]
    fn by_signal(status: ExitStatus) -> Self {
        use std::os::unix::process::ExitStatusExt;

        use signal_hook::consts::{SIGHUP, SIGINT, SIGKILL, SIGTERM, SIGUSR1};
        use signal_hook::low_level::signal_name;

        let number = status.signal().unwrap_or_default();
        let name = signal_name(number).map_or_else(|| format!("signal {number}"), str::to_owned);
        match number {
            SIGKILL => Self::Killed(format!("was killed ({name}): by hand, or because memory ran out")),
            SIGHUP | SIGINT | SIGTERM | SIGUSR1 => Self::Killed(format!("was ended by {name}")),
            _ => Self::Crashed(format!("crashed ({name})")),
        }
    }

    #[cfg(not(unix))]
    fn by_signal(status: ExitStatus) -> Self {
        Self::Crashed(format!("crashed ({status})"))
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    #[test]
    fn an_ending_tells_what_can_go_on_from_what_would_break_again() {
        let of = |status| Ending::of(ExitStatus::from_raw(status));
        assert_eq!([of(0), of(75 << 8), of(2 << 8)], [Ending::Done, Ending::Interrupted, Ending::Error]);
        assert_eq!(of(101 << 8), Ending::Panicked);
        assert!(matches!(of(130 << 8), Ending::Killed(_)), "a second Ctrl-C is no failure of the run");
        assert!(matches!(of(9), Ending::Killed(how) if how.contains("SIGKILL") && how.contains("memory")));
        assert!(matches!(of(15), Ending::Killed(how) if how.contains("SIGTERM")));
        assert!(matches!(of(11), Ending::Crashed(how) if how.contains("SIGSEGV")));
    }
}
