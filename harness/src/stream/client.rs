//! The command of `mkgc stream --command`: started by the shell, with pipes to its standard input and from its standard
//! output, and ended if it does not end by itself.
//!
//! A plain command takes the place of the shell, so that it can be killed, and Ctrl-C reaches it as it reaches mkgc. Variables
//! may be set before it. Anything else, such as a pipeline, is a process group of its own, which is killed as a whole and to which
//! signals are passed on: it would go on training, and the next start would be a second one beside it.

use std::io;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::peer::Peer;
use crate::error::{Error, Result};
use crate::signals::{self, Caught};

/// How long a command may take to end once nothing more will come, if it has no other limit.
const TO_END: Duration = Duration::from_secs(60);

/// Number of SIGKILL, which ends a process group that does not end by itself.
const KILL: i32 = 9;

/// How long a process group may take to end upon a signal before it is killed.
const TO_OBEY: Duration = Duration::from_secs(10);

/// Time between two looks at whether a command has ended.
const LOOK: Duration = Duration::from_millis(20);

/// What only the shell understands.
const SHELL_ONLY: [char; 13] = ['|', '&', ';', '<', '>', '(', ')', '{', '}', '$', '`', '!', '\n'];

/// What the shell does itself, so that no program of this name can take its place.
const BUILT_IN: [&str; 5] = [".", "command", "eval", "exec", "source"];

/// A command that is running. It is killed when it is dropped.
pub struct Client {
    command: Arc<Running>,
    timeout: Option<Duration>,
}

/// What the thread that passes signals on shares with the client.
struct Running {
    child: Mutex<Child>,
    /// The process group that the command leads, if it is not plain.
    group: Option<u32>,
    over: AtomicBool,
}

impl Running {
    fn child(&self) -> MutexGuard<'_, Child> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Kills the command and what it has started.
    fn kill(&self, child: &mut Child) {
        // All of it fails only if the command has ended.
        if let Some(leader) = self.group {
            signals::send_to_group(leader, KILL);
        }
        child.kill().ok();
        child.wait().ok();
    }

    /// Ends the command by a signal, and this process as well. A second signal ends what does not obey the first one.
    fn end_by(&self, signal: i32, caught: &Caught) {
        // Nobody else sees that the command has ended, and reports it, before this process ends.
        let mut child = self.child();
        if let Some(leader) = self.group.filter(|_| !self.over.load(Ordering::SeqCst)) {
            signals::send_to_group(leader, signal);
            let until = Instant::now() + TO_OBEY;
            // The shell may end before what it has started, which may be saving its state.
            while (is_running(&mut child) || signals::group_exists(leader)) && Instant::now() < until {
                if caught.take().is_some() {
                    break;
                }
                thread::sleep(LOOK);
            }
            self.kill(&mut child);
        }
        signals::end_by(signal);
    }
}

/// Returns whether a process is still running.
fn is_running(child: &mut Child) -> bool {
    matches!(child.try_wait(), Ok(None))
}

impl Client {
    /// Starts a command in the current folder.
    ///
    /// # Errors
    /// The shell cannot be started.
    pub fn start(command: &str, timeout: Option<Duration>) -> Result<(Self, Peer)> {
        let plain = is_plain(command);
        let mut shell = shell(command, plain);
        shell.stdin(Stdio::piped()).stdout(Stdio::piped());
        // Signals are caught before the command is there, so that none ends mkgc without it.
        let caught = (!plain).then(Caught::new).transpose()?;
        let failed = |error| Error::Usage(format!("--command: the shell cannot be started: {error}"));
        let mut child = shell.spawn().map_err(failed)?;
        let (Some(to), Some(from)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(Error::Usage("--command: the command has no input or output".to_owned()));
        };
        let group = (!plain).then(|| child.id());
        let command = Arc::new(Running { child: Mutex::new(child), group, over: AtomicBool::new(false) });
        if let Some(caught) = caught {
            pass_signals_on(caught, Arc::clone(&command));
        }
        Ok((Self { command, timeout }, Peer::new(from, to, timeout)))
    }

    /// Waits until the command has ended by itself; `None` if it takes too long.
    pub fn wait(&mut self) -> Option<ExitStatus> {
        // None if no clock shows that time.
        let until = Instant::now().checked_add(self.timeout.unwrap_or(TO_END));
        // Each look takes the lock anew, so that a signal can end the command meanwhile.
        wait(|| self.command.child().try_wait(), until)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let mut child = self.command.child();
        self.command.over.store(true, Ordering::SeqCst);
        self.command.kill(&mut child);
    }
}

/// Waits until `look` sees that a process has ended; `None` if it has not by then.
fn wait(mut look: impl FnMut() -> io::Result<Option<ExitStatus>>, until: Option<Instant>) -> Option<ExitStatus> {
    loop {
        match look() {
            Ok(Some(status)) => return Some(status),
            Ok(None) if until.is_none_or(|until| Instant::now() < until) => thread::sleep(LOOK),
            Ok(None) | Err(_) => return None,
        }
    }
}

/// Passes signals that end mkgc on to the command's process group, until the command is over.
fn pass_signals_on(caught: Caught, command: Arc<Running>) {
    thread::spawn(move || {
        loop {
            let over = command.over.load(Ordering::SeqCst);
            // This looks once more after the command is over, because a signal that was caught has not ended mkgc.
            if let Some(signal) = caught.take() {
                command.end_by(signal, &caught);
            }
            if over {
                return;
            }
            thread::sleep(LOOK);
        }
    });
}

/// Returns whether a command is a program with arguments and nothing else.
fn is_plain(command: &str) -> bool {
    let is_program = |word: &str| !BUILT_IN.contains(&word);
    let program = command.split_whitespace().find(|word| !sets_variable(word));
    // A quoted value may hold spaces, so that the word after the first one is not the program.
    let quoted = sets_variables(command) && command.contains(['\'', '"', '\\', '~']);
    cfg!(unix) && program.is_some_and(is_program) && !quoted && !command.trim().contains(SHELL_ONLY)
}

/// Returns whether the word sets a variable, as in `RATE=1 ./mine`.
fn sets_variable(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| {
        !name.starts_with(|first: char| first.is_ascii_digit())
            && !name.is_empty()
            && name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
    })
}

fn sets_variables(command: &str) -> bool {
    command.split_whitespace().next().is_some_and(sets_variable)
}

#[cfg(unix)]
fn shell(command: &str, plain: bool) -> Command {
    use std::os::unix::process::CommandExt;
    let mut shell = Command::new("sh");
    if plain {
        let env = if sets_variables(command) { "env " } else { "" };
        shell.args(["-c", &format!("exec {env}{command}")]);
    } else {
        shell.args(["-c", command]).process_group(0);
    }
    shell
}

#[cfg(not(unix))]
fn shell(command: &str, _plain: bool) -> Command {
    let mut shell = Command::new("cmd");
    shell.args(["/C", command]);
    shell
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[cfg(unix)]
    #[test]
    fn a_command_may_take_longer_than_a_clock_can_show() {
        let (mut client, _peer) = Client::start("true", Some(Duration::MAX)).unwrap();
        assert!(client.wait().unwrap().success());
    }

    /// Returns whether a process runs; one that has ended and was not waited for has no command line.
    #[cfg(target_os = "linux")]
    fn runs(pid: &str) -> bool {
        std::fs::read(format!("/proc/{}/cmdline", pid.trim())).is_ok_and(|line| !line.is_empty())
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_command_that_is_dropped_is_gone_with_all_that_it_started() {
        let folder = tempfile::tempdir().unwrap();
        let note = folder.path().join("pid");
        let script = format!("trap '' TERM INT; sleep 600 & echo $! > {0}.new; mv {0}.new {0}; wait", note.display());
        let (client, peer) = Client::start(&script, None).unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        while !note.exists() {
            assert!(Instant::now() < deadline, "the command did not start");
            thread::sleep(LOOK);
        }
        let pid = fs_err::read_to_string(&note).unwrap();
        assert!(runs(&pid));
        drop(client);
        drop(peer);
        while runs(&pid) {
            assert!(Instant::now() < deadline, "some of the group is alive");
            thread::sleep(LOOK);
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_program_with_arguments_is_plain() {
        for plain in [
            "./mine",
            "python 'my method.py' --rate=1e-3",
            " sh -c \"exit 3\" \n",
            "RATE=1 ./mine",
            "A=1 B=2,3 python m.py",
            "/runs/lr=0.1/m.sh a",
        ] {
            assert!(is_plain(plain), "{plain}");
        }
        for other in [
            "a | b",
            "a && b",
            "RATE='1 2' ./mine",
            "A=1 . ./a",
            "RATE=1",
            "a; b",
            "a\nb",
            "$METHOD",
            "",
            "! a",
            "{ a; }",
            "exec a",
            ". ./a",
        ] {
            assert!(!is_plain(other), "{other}");
        }
    }
}
