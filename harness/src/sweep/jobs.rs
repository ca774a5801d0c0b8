//! Makes the runs of a sweep as child processes of this program, some at a time. A child that crashes takes no other
//! down, and one that is killed goes on from its checkpoint in the next sweep.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ffi::OsString;
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant, SystemTime};

use mkgc_models::pretrained::{TextFiles, VisionFiles};

use super::child::{self, Ending};
use super::live::View;
use super::matrix::Sweep;
use super::renewal::Renewal;
use super::resources::{MachineMemory, Shares};
use super::spec::PlannedRun;
use super::state::{Observed, RunState, last_line, time_left};
use super::table::{Row, duration, rows};
use crate::console::{counted, note};
use crate::error::Result;
use crate::learner::{TINY, opened};
use crate::signals::{self, Caught};

/// Time between two looks at the children.
const TICK: Duration = Duration::from_millis(100);

/// How to make the runs.
#[derive(Debug, Clone)]
pub struct JobOptions {
    /// The most runs at a time, at least 1.
    pub jobs: usize,
    /// Make runs again that have failed.
    pub retry_failed: bool,
    /// Bytes of memory that a run takes, if the user knows; default: what the largest so far has taken.
    pub memory: Option<u64>,
    /// Arguments of this program that name the sweep: `sweep PLAN …`. With a flag, they make a run or the report.
    pub arguments: Vec<OsString>,
}

/// The signal SIGTERM, upon which a run saves a checkpoint and ends.
const TERMINATE: i32 = 15;

/// How a sweep ended: after the turn of every run, or by a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Every run had its turn.
    Done,
    /// A signal stopped it; the runs in training were told to save their checkpoints.
    Interrupted,
}

/// Makes the runs that are not finished. Runs that have failed are made again only if the options say so. Their
/// benchmarks must have been built, see [`Sweep::build`].
///
/// # Errors
/// An encoder cannot be opened; the folder cannot be written; a process cannot be started.
pub fn make(sweep: &Sweep, options: &JobOptions) -> Result<Outcome> {
    let rows = rows(sweep)?;
    let is_open = |row: &&Row| row.observed.state.is_open(options.retry_failed);
    let queue: VecDeque<usize> = rows.iter().filter(is_open).map(|row| row.number).collect();
    open_encoders(queue.iter().map(|number| &sweep.runs[*number]))?;
    for row in rows.iter().filter(|row| matches!(row.observed.state, RunState::Finished)) {
        if let Err(error) = sweep.tidy(&sweep.runs[row.number]) {
            note(format_args!("warning: {error}"));
        }
    }
    let mut jobs = Jobs {
        sweep,
        options,
        shares: Shares::new(options.jobs, &sweep.device),
        memory: MachineMemory::new(options.memory),
        view: View::new(options.jobs),
        renewal: Renewal::new(&options.arguments),
        short: None,
        active: Vec::new(),
        queue,
        rows,
    };
    for number in jobs.queue.clone() {
        jobs.rows[number].observed.state = RunState::Waiting;
    }
    jobs.work()
}

/// Opens every encoder of the runs once, so that a wrong name stops the sweep at once and children do not download the
/// same files side by side.
pub(super) fn open_encoders<'a>(runs: impl IntoIterator<Item = &'a PlannedRun>) -> Result<()> {
    let mut seen = BTreeSet::new();
    for run in runs {
        if run.encoder != TINY && seen.insert((&run.encoder, false)) {
            opened(&run.encoder, || TextFiles::open(&run.encoder))?;
        }
        if run.method.multimodal() && run.vision != TINY && seen.insert((&run.vision, true)) {
            VisionFiles::open(&run.vision)?;
        }
    }
    Ok(())
}

/// A run in training, and the child process that makes it.
struct Active {
    number: usize,
    /// Which share of threads and GPUs it has.
    slot: usize,
    /// Its standard input is a pipe that ends with this process, which tells it when that is gone.
    process: Child,
    since: Instant,
}

struct Jobs<'a> {
    sweep: &'a Sweep,
    options: &'a JobOptions,
    shares: Shares,
    memory: MachineMemory,
    view: View,
    renewal: Renewal,
    /// Why no further run is started, if memory is short.
    short: Option<String>,
    active: Vec<Active>,
    queue: VecDeque<usize>,
    rows: Vec<Row>,
}

impl Jobs<'_> {
    fn work(mut self) -> Result<Outcome> {
        let signals = Caught::new()?;
        let mut outcome = Outcome::Done;
        let worked = loop {
            if let Some(signal) = signals.take() {
                outcome = Outcome::Interrupted;
                self.view.tell(&format!("stopping {}; each saves a checkpoint", counted(self.active.len(), "run")));
                self.active.iter().for_each(|run| signals::send(&run.process, signal));
            }
            let step = self.step(outcome == Outcome::Done);
            if step.is_err() {
                // The runs in training save their checkpoints; nothing of them goes on unseen.
                self.active.iter().for_each(|run| signals::send(&run.process, TERMINATE));
                while self.active.iter_mut().any(|run| matches!(run.process.try_wait(), Ok(None))) {
                    if let Some(signal) = signals.take() {
                        self.active.iter().for_each(|run| signals::send(&run.process, signal));
                    }
                    std::thread::sleep(TICK);
                }
                break step;
            }
            if self.active.is_empty() && (self.queue.is_empty() || outcome == Outcome::Interrupted) {
                break step;
            }
            std::thread::sleep(TICK);
        };
        self.view.draw(&self.rows, None);
        worked.map(|()| outcome)
    }

    fn step(&mut self, start: bool) -> Result<()> {
        self.reap()?;
        if start {
            self.start()?;
        }
        if self.view.is_due() {
            self.memory.look(self.active.iter().map(|run| run.process.id()));
            self.look()?;
            self.renewal.work();
            self.view.draw(&self.rows, self.short.as_deref());
        }
        Ok(())
    }

    /// Starts runs as long as there is a free slot and room in memory. A run alone is always started.
    fn start(&mut self) -> Result<()> {
        while let Some(number) = self.queue.front().copied().filter(|_| self.active.len() < self.options.jobs) {
            if !self.active.is_empty()
                && let Some(shortage) = self.memory.shortage()
            {
                if self.short.is_none() {
                    self.view.tell(&format!("no further run is started for now: {shortage}"));
                }
                self.short = Some(format!("waiting for memory: {shortage}"));
                return Ok(());
            }
            self.short = None;
            let taken = |slot: &usize| self.active.iter().any(|run| run.slot == *slot);
            let slot = (0..self.options.jobs).find(|slot| !taken(slot)).unwrap_or_default();
            let run = &self.sweep.runs[number];
            self.queue.pop_front();
            let started = self
                .sweep
                .log(run)
                .and_then(|log| child::spawn(&log, run, &self.options.arguments, self.shares.environment(slot)));
            let process = match started {
                Ok(process) => process,
                // A log that cannot be written is the trouble of this run, which takes no other down. Anything else is the
                // machine's, and would be the trouble of every run.
                Err(error)
                    if self
                        .sweep
                        .log(run)
                        .is_ok_and(|log| child::append(&log, "mkgc sweep: starts the run").is_ok()) =>
                {
                    self.queue.push_front(number);
                    return Err(error);
                }
                Err(error) => {
                    let cause = format!("the process could not be started: {error}");
                    self.tell(number, &cause);
                    if let Err(error) = self.sweep.note_failure(run, cause.clone()) {
                        self.tell(number, &format!("warning: {error}"));
                    }
                    self.rows[number].observed.state = RunState::Failed(cause);
                    continue;
                }
            };
            self.rows[number].observed.state = RunState::Running;
            self.active.push(Active { number, slot, process, since: Instant::now() });
            self.memory.look(self.active.iter().map(|run| run.process.id()));
            self.tell(number, "started");
        }
        Ok(())
    }

    /// Takes leave of the children that have ended.
    fn reap(&mut self) -> Result<()> {
        let mut index = 0;
        while index < self.active.len() {
            let Some(status) = self.active[index].process.try_wait()? else {
                index += 1;
                continue;
            };
            let ended = self.active.remove(index);
            self.ended(&ended, status)?;
        }
        Ok(())
    }

    fn ended(&mut self, ended: &Active, status: ExitStatus) -> Result<()> {
        let run = &self.sweep.runs[ended.number];
        let ending = Ending::of(status);
        if let Ending::Killed(how) | Ending::Crashed(how) = &ending {
            let said = child::append(&self.sweep.log(run)?, &format!("mkgc sweep: the process {how}"));
            if let Err(error) = said {
                self.tell(ended.number, &format!("warning: {error}"));
            }
        }
        let before = self.sweep.observe(run)?.state;
        let last = last_line(&self.sweep.log(run)?).unwrap_or_else(|| "it said nothing".to_owned());
        let cause = match (&ending, &before) {
            (_, RunState::Finished | RunState::Failed(_)) => None,
            (Ending::Crashed(how), _) => Some(format!("the process {how}")),
            (Ending::Done, _) => Some("the process ended without a result".to_owned()),
            // A process that could not open a run that has begun did not change it, and the run can still go on.
            (Ending::Panicked, _) | (Ending::Error, RunState::Waiting) => Some(last.clone()),
            (Ending::Error | Ending::Interrupted | Ending::Killed(_), _) => None,
        };
        if let Some(cause) = cause {
            self.sweep.note_failure(run, cause)?;
        }
        self.rows[ended.number].observed = self.sweep.observe(run)?;
        self.renewal.ask();
        let time = duration(ended.since.elapsed());
        let text = match &self.rows[ended.number].observed.state {
            RunState::Finished => format!("finished in {time}"),
            RunState::Failed(cause) => format!("failed after {time}: {cause}; see {}", self.sweep.log(run)?.display()),
            RunState::Running => "left to another process, which trains it".to_owned(),
            _ if ending == Ending::Error => format!("did not go on: {last}"),
            _ => format!("interrupted after {time}; the same command goes on with it"),
        };
        self.tell(ended.number, &text);
        Ok(())
    }

    fn tell(&self, number: usize, text: &str) {
        let name = &self.rows[number].name;
        self.view.tell(&format!("run {number} {name}: {text}"));
    }

    /// Looks at the folders of the runs in training, and estimates the time that each run still takes.
    fn look(&mut self) -> Result<()> {
        let usual = UsualTimes::new(self.sweep, &self.rows);
        for index in 0..self.active.len() {
            let number = self.active[index].number;
            let run = &self.sweep.runs[number];
            let folder = self.sweep.folder(run)?;
            let row = &mut self.rows[number];
            let before = row.observed.learned;
            row.observed.learned = folder.tasks_learned(row.observed.tasks);
            let since = self.active[index].since.elapsed();
            let by_others = || usual.of(run).map(|usual| usual.saturating_sub(since));
            row.left = time_left(&folder, &row.observed, SystemTime::now()).or_else(by_others);
            let Observed { learned, tasks, .. } = row.observed;
            if learned > before {
                let left = row.left.map_or_else(String::new, |left| format!(", about {} left", duration(left)));
                self.tell(number, &format!("{learned} of {tasks} tasks learned{left}"));
            }
        }
        for (row, run) in self.rows.iter_mut().zip(&self.sweep.runs) {
            if row.observed.state != RunState::Running {
                row.left = usual.of(run).filter(|_| row.observed.state == RunState::Waiting);
            }
        }
        Ok(())
    }
}

/// How long the finished runs took.
struct UsualTimes(BTreeMap<(usize, &'static str), (f64, f64)>);

impl UsualTimes {
    fn new(sweep: &Sweep, rows: &[Row]) -> Self {
        let mut sums: BTreeMap<(usize, &'static str), (f64, f64)> = BTreeMap::new();
        for (row, run) in rows.iter().zip(&sweep.runs) {
            if let (RunState::Finished, Some(seconds)) = (&row.observed.state, row.observed.seconds) {
                let sum = sums.entry((run.benchmark, run.method.name)).or_default();
                *sum = (sum.0 + seconds, sum.1 + 1.0);
            }
        }
        Self(sums)
    }

    /// Returns the mean over the runs of the same method on the same benchmark or, if there are none, over all runs.
    fn of(&self, run: &PlannedRun) -> Option<Duration> {
        let all = || self.0.values().copied().reduce(|a, b| (a.0 + b.0, a.1 + b.1));
        let (seconds, runs) = self.0.get(&(run.benchmark, run.method.name)).copied().or_else(all)?;
        Duration::try_from_secs_f64(seconds / runs).ok()
    }
}
