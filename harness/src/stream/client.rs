//! The command of `mkgc stream --command`: started by the shell, with pipes to its standard input and from its standard
//! output, and ended if it does not end by itself.

use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::peer::Peer;
use crate::error::{Error, Result};

/// How long a command may take to end once nothing more will come, if it has no other limit.
const TO_END: Duration = Duration::from_secs(60);

/// How often it is looked whether a command has ended.
const LOOK: Duration = Duration::from_millis(20);

/// A command that is running. It is killed when it is dropped.
pub struct Client {
    child: Child,
    timeout: Option<Duration>,
}

impl Client {
    /// Starts a command in the current folder.
    ///
    /// # Errors
    /// The shell cannot be started.
    pub fn start(command: &str, timeout: Option<Duration>) -> Result<(Self, Peer)> {
        let mut shell = shell(command);
        shell.stdin(Stdio::piped()).stdout(Stdio::piped());
        let failed = |error| Error::Usage(format!("--command: the shell cannot be started: {error}"));
        let mut child = shell.spawn().map_err(failed)?;
        let (Some(to), Some(from)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(Error::Usage("--command: the command has no input or output".to_owned()));
        };
        Ok((Self { child, timeout }, Peer::new(from, to, timeout)))
    }

    /// Waits until the command has ended by itself; `None` if it takes too long.
    pub fn wait(&mut self) -> Option<ExitStatus> {
        let until = Instant::now() + self.timeout.unwrap_or(TO_END);
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => return Some(status),
                Ok(None) if Instant::now() < until => thread::sleep(LOOK),
                Ok(None) | Err(_) => return None,
            }
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // Both fail only if the command has ended.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[cfg(unix)]
fn shell(command: &str) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", command]);
    shell
}

#[cfg(not(unix))]
fn shell(command: &str) -> Command {
    let mut shell = Command::new("cmd");
    shell.args(["/C", command]);
    shell
}
