//! The command of `mkgc stream --command`: started by the shell, with pipes to its standard input and from its standard
//! output, and ended if it does not end by itself.
//!
//! A plain command takes the place of the shell, so that it can be killed, and Ctrl-C reaches it as it reaches mkgc. Anything
//! else, such as a pipeline, is a process group of its own, which is killed as a whole.

use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::peer::Peer;
use crate::error::{Error, Result};

/// How long a command may take to end once nothing more will come, if it has no other limit.
const TO_END: Duration = Duration::from_secs(60);

/// How often it is looked whether a command has ended.
const LOOK: Duration = Duration::from_millis(20);

/// What only the shell understands.
const SHELL_ONLY: [char; 13] = ['|', '&', ';', '<', '>', '(', ')', '{', '}', '$', '`', '!', '\n'];

/// What the shell does itself, so that no program of this name can take its place.
const BUILT_IN: [&str; 5] = [".", "command", "eval", "exec", "source"];

/// A command that is running. It is killed when it is dropped.
pub struct Client {
    child: Child,
    plain: bool,
    timeout: Option<Duration>,
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
        let failed = |error| Error::Usage(format!("--command: the shell cannot be started: {error}"));
        let mut child = shell.spawn().map_err(failed)?;
        let (Some(to), Some(from)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(Error::Usage("--command: the command has no input or output".to_owned()));
        };
        Ok((Self { child, plain, timeout }, Peer::new(from, to, timeout)))
    }

    /// Waits until the command has ended by itself; `None` if it takes too long.
    pub fn wait(&mut self) -> Option<ExitStatus> {
        // None if no clock shows that time.
        let until = Instant::now().checked_add(self.timeout.unwrap_or(TO_END));
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => return Some(status),
                Ok(None) if until.is_none_or(|until| Instant::now() < until) => thread::sleep(LOOK),
                Ok(None) | Err(_) => return None,
            }
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // All of it fails only if the command has ended.
        if !self.plain {
            kill_group(self.child.id());
        }
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Returns whether a command is a program with arguments and nothing else.
fn is_plain(command: &str) -> bool {
    // `RATE=1 ./mine` sets a variable.
    let is_program = |word: &str| !word.contains('=') && !BUILT_IN.contains(&word);
    cfg!(unix) && command.split_whitespace().next().is_some_and(is_program) && !command.trim().contains(SHELL_ONLY)
}

#[cfg(unix)]
fn shell(command: &str, plain: bool) -> Command {
    use std::os::unix::process::CommandExt;
    let mut shell = Command::new("sh");
    if plain {
        shell.args(["-c", &format!("exec {command}")]);
    } else {
        shell.args(["-c", command]).process_group(0);
    }
    shell
}

#[cfg(unix)]
fn kill_group(leader: u32) {
    // The shell has `kill` built in, where a small system may lack the program.
    let kill = format!("kill -s KILL -- -{leader}");
    Command::new("sh").args(["-c", &kill]).stderr(Stdio::null()).status().ok();
}

#[cfg(not(unix))]
fn shell(command: &str, _plain: bool) -> Command {
    let mut shell = Command::new("cmd");
    shell.args(["/C", command]);
    shell
}

#[cfg(not(unix))]
fn kill_group(_leader: u32) {}

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

    #[cfg(unix)]
    #[test]
    fn a_program_with_arguments_is_plain() {
        for plain in ["./mine", "python 'my method.py' --rate=1e-3", " sh -c \"exit 3\" \n"] {
            assert!(is_plain(plain), "{plain}");
        }
        for other in
            ["a | b", "a && b", "RATE=1 ./mine", "a; b", "a\nb", "$METHOD", "", "! a", "{ a; }", "exec a", ". ./a"]
        {
            assert!(!is_plain(other), "{other}");
        }
    }
}
