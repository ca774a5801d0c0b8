//! Renews the report while a sweep runs, so that a browser shows the runs that are finished so far.

use std::ffi::OsString;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use super::child::this_program;
use crate::console::note;
use crate::signals;

/// The least time between two renewals. The report of a large sweep takes as long.
const EVERY: Duration = Duration::from_mins(1);

/// Makes the report in a process of its own, which uses one thread and may fail without harm: the sweep writes the
/// report once more at its end and tells what is wrong with it.
pub(super) struct Renewal {
    /// Arguments of this program that name the sweep.
    arguments: Vec<OsString>,
    /// Whether a run has finished since the last renewal began.
    due: bool,
    last: Option<Instant>,
    process: Option<Child>,
}

impl Renewal {
    pub fn new(arguments: &[OsString]) -> Self {
        Self { arguments: arguments.to_vec(), due: false, last: None, process: None }
    }

    /// Notes that a run has finished.
    pub fn ask(&mut self) {
        self.due = true;
    }

    /// Starts a renewal if one is due, the last one has ended and some time has gone by.
    pub fn work(&mut self) {
        let ended = |process: &mut Child| !matches!(process.try_wait(), Ok(None));
        if self.process.as_mut().is_some_and(ended) {
            self.process = None;
        }
        let early = self.last.is_some_and(|last| last.elapsed() < EVERY);
        if self.process.is_some() || !self.due || early {
            return;
        }
        self.due = false;
        self.last = Some(Instant::now());
        match self.spawn() {
            Ok(process) => self.process = Some(process),
            Err(error) => note(format_args!("warning: the report is not renewed: {error}")),
        }
    }

    fn spawn(&self) -> std::io::Result<Child> {
        let mut command = this_program()?;
        command.args(&self.arguments).arg("--report");
        command.envs(["RAYON_NUM_THREADS", "POLARS_MAX_THREADS"].map(|name| (name, "1")));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        signals::apart(&mut command);
        command.spawn()
    }
}

impl Drop for Renewal {
    /// Waits for the process, because two must not write the report at the same time.
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            process.wait().ok();
        }
    }
}
