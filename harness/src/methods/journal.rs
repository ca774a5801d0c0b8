//! What is done of the task that a method learns, so that another process can go on inside the task.
//!
//! [`super::Method::learn`] is a script of parts: training phases, and values that are computed from the network between
//! them. A checkpoint inside a task holds the value of each part that is done and the state of the part in progress. The
//! process that goes on restores the method as it was before the task and calls `learn` again: parts that are done are
//! passed over, their values are those of the checkpoint, and the part in progress is entered where it was. What `learn`
//! computes before its first phase is computed again, from the same network.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::run::checkpoint::{self, DonePart, Inside, State};
use crate::run::interrupt::Interrupt;
use crate::run::log::{Log, LogState};

/// Where and when checkpoints inside a task are written.
#[derive(Debug, Clone, Default)]
pub struct Checkpoints {
    /// The folder `checkpoint/` of the run; none writes none.
    pub folder: Option<PathBuf>,
    /// Time between two of them; none for those of interruptions alone.
    pub every: Option<Duration>,
    /// What asks the run to stop.
    pub interrupt: Interrupt,
}

/// The parts of the task in progress.
pub struct Journal {
    checkpoints: Checkpoints,
    /// Whether the method can go on inside a task.
    resumes: bool,
    task: usize,
    done: Vec<DonePart>,
    /// How many of the parts done this process has passed.
    passed: usize,
    /// The part in progress of the checkpoint and the log's state there, until it is entered.
    open: Option<PartProgress>,
    log: Option<LogState>,
    written: Instant,
    /// Wall time of the run before this process, in seconds.
    seconds: f64,
    started: Instant,
}

/// The state of a part in progress.
#[derive(Debug, Default)]
pub struct PartProgress {
    /// Tensors by part and name.
    pub state: State,
    /// Counts and positions of generators by name.
    pub numbers: BTreeMap<String, u64>,
}

/// How a part of a task begins: passed over, at its beginning, or inside, where a checkpoint left it.
pub(super) enum Start {
    /// The part was done before the checkpoint, with so many optimiser steps.
    Passed(usize),
    /// The part begins at its beginning.
    Anew,
    /// The part goes on from this state.
    Within(PartProgress),
}

impl Default for Journal {
    fn default() -> Self {
        Self::new(Checkpoints::default(), 0.0)
    }
}

impl Journal {
    /// Makes the journal of a process that goes on with a run of so many seconds of wall time.
    pub fn new(checkpoints: Checkpoints, seconds: f64) -> Self {
        let now = Instant::now();
        let done = Vec::new();
        Self {
            checkpoints,
            resumes: false,
            task: 0,
            done,
            passed: 0,
            open: None,
            log: None,
            written: now,
            seconds,
            started: now,
        }
    }

    /// Begins a task, or goes on inside it from a checkpoint. `resumes` is [`super::Method::resumes_inside`].
    pub fn begin(&mut self, task: usize, resumes: bool, inside: Option<Inside>) {
        self.task = task;
        self.resumes = resumes;
        self.passed = 0;
        (self.done, self.open, self.log) = match inside {
            Some(Inside { done, state, numbers, log, .. }) => (done, Some(PartProgress { state, numbers }), Some(log)),
            None => (Vec::new(), None, None),
        };
        self.written = Instant::now();
    }

    /// Returns the wall time of the run so far, in seconds.
    pub fn seconds(&self) -> f64 {
        self.seconds + self.started.elapsed().as_secs_f64()
    }

    /// Fails if the run is asked to stop.
    ///
    /// # Errors
    /// [`Error::Interrupted`].
    pub fn check(&self) -> Result<()> {
        if self.checkpoints.interrupt.is_asked() { Err(Error::Interrupted) } else { Ok(()) }
    }

    /// Starts a part of the task.
    ///
    /// # Errors
    /// The checkpoint has another part here, so what it holds of the part in progress does not belong to this one.
    pub(super) fn start(&mut self, name: &str) -> Result<Start> {
        if let Some(done) = self.next(name) {
            return Ok(Start::Passed(done.steps));
        }
        if let Some(other) = self.done.get(self.passed) {
            let other = &other.name;
            let reason = format!("the checkpoint inside the task has `{other}` where the method begins `{name}`");
            return Err(Error::Usage(format!(
                "{reason}; choose a new --out, because the method learns differently now"
            )));
        }
        Ok(self.open.take().map_or(Start::Anew, Start::Within))
    }

    /// Returns the next part done and passes it, if it has this name.
    pub(super) fn next(&mut self, name: &str) -> Option<&DonePart> {
        let next = self.done.get(self.passed).filter(|done| done.name == name);
        self.passed += usize::from(next.is_some());
        next
    }

    /// Returns the state of the log where the part in progress was left, once.
    pub(super) fn take_log(&mut self) -> Option<LogState> {
        self.log.take()
    }

    /// Returns how many parts have been passed.
    pub(super) fn passed(&self) -> usize {
        self.passed
    }

    /// Notes that a part is done, in place of those after the first `before`, of which it consisted.
    pub(super) fn finish(&mut self, before: usize, part: DonePart) {
        self.done.truncate(before);
        self.done.push(part);
        self.passed = self.done.len();
    }

    /// Drops the values of earlier parts of this name.
    pub(super) fn forget(&mut self, name: &str) {
        for part in self.done.iter_mut().filter(|part| part.name == name) {
            part.value = State::default();
        }
    }

    /// Ends a step: writes a checkpoint if one is due or the run is asked to stop, and ends the run in the latter case.
    pub(super) fn step(&mut self, log: &Log, progress: impl FnOnce() -> Result<PartProgress>) -> Result<()> {
        let stop = self.checkpoints.interrupt.is_asked();
        let due = self.checkpoints.every.is_some_and(|every| self.written.elapsed() >= every);
        if let Some(folder) = self.checkpoints.folder.as_ref().filter(|_| self.resumes && (stop || due)) {
            let PartProgress { state, numbers } = progress()?;
            let done = self.done.clone();
            log.sync()?;
            let log = log.state();
            checkpoint::save_inside(
                folder,
                &Inside { task: self.task, done, state, numbers, log, seconds: self.seconds() },
            )?;
            self.written = Instant::now();
        }
        if stop { Err(Error::Interrupted) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_part_is_entered_only_after_all_that_the_checkpoint_has_before_it() {
        let done = vec![DonePart { name: "phase a".to_owned(), steps: 3, value: State::default() }];
        let begun = || {
            let state = State::default();
            let numbers = BTreeMap::from([("taken".to_owned(), 2)]);
            let log = LogState::default();
            let mut journal = Journal::default();
            journal.begin(0, true, Some(Inside { task: 0, done: done.clone(), state, numbers, log, seconds: 0.0 }));
            journal
        };
        let mut journal = begun();
        assert!(matches!(journal.start("phase a").unwrap(), Start::Passed(3)));
        assert!(matches!(journal.start("phase b").unwrap(), Start::Within(progress) if progress.numbers["taken"] == 2));
        assert!(matches!(journal.start("phase c").unwrap(), Start::Anew));
        let error = begun().start("phase b").err().unwrap().to_string();
        assert!(error.contains("has `phase a` where the method begins `phase b`"), "{error}");
    }
}
