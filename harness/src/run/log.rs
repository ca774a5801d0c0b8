//! Live progress: a bar with samples/s and time left on a terminal, plain lines otherwise, and `metrics.jsonl` with its
//! events for TensorBoard.

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::{Deserialize, Serialize};

use super::tensorboard::EventFile;
use crate::error::Result;
use crate::metrics::stage::StageScores;

/// A line of `metrics.jsonl`: means since the line before.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Line {
    /// 0-based task.
    pub stage: usize,
    /// 0-based pass over the task's rows.
    pub epoch: usize,
    /// Batches taken in this task so far (replay steps not counted).
    pub step: usize,
    /// Mean training loss on current rows.
    pub loss: f64,
    /// Encoder learning rate.
    pub lr_encoder: f64,
    /// Rows of the task per second of wall time.
    pub samples_per_s: f64,
    /// Resident memory, MiB (0 where the system does not tell).
    pub memory_mib: u64,
}

/// The lines of a `metrics.jsonl`, those that can be read: the last may be half-written.
pub fn read(path: &Path) -> Result<Vec<Line>> {
    if !path.exists() {
        return Ok(Vec::new());
    }
    Ok(fs_err::read_to_string(path)?.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
}

/// Seconds between plain progress lines, and steps between lines of `metrics.jsonl`.
const PLAIN_EVERY: Duration = Duration::from_secs(10);
const LINE_EVERY: usize = 50;

/// The log of one run.
pub struct Log {
    file: fs_err::File,
    events: EventFile,
    title: String,
    lr_encoder: f64,
    stage: usize,
    stages: usize,
    bar: ProgressBar,
    plain: Instant,
    started: Instant,
    total: usize,
    done: usize,
    step: usize,
    epoch: usize,
    window: Window,
    trial: Option<Trial>,
}

/// Lines held back, and the step at which that began.
struct Trial {
    step: usize,
    lines: Vec<Line>,
}

struct Window {
    since: Instant,
    rows: usize,
    steps: usize,
    loss: f64,
}

impl Window {
    fn new() -> Self {
        Self { since: Instant::now(), rows: 0, steps: 0, loss: 0.0 }
    }
}

impl Log {
    /// Opens `metrics.jsonl` for appending, dropping lines of tasks from `first_stage` on (an interrupted task), and
    /// writes the events of the lines kept anew.
    pub fn open(path: &Path, title: &str, stages: usize, first_stage: usize, lr_encoder: f64) -> Result<Self> {
        let before = if path.exists() { fs_err::read_to_string(path)? } else { String::new() };
        let lines = before.lines().filter_map(|text| Some((text, serde_json::from_str::<Line>(text).ok()?)));
        let mut file = fs_err::File::create(path)?;
        let mut events = EventFile::create(&path.with_file_name("tensorboard"))?;
        for (text, line) in lines.filter(|(_, line)| line.stage < first_stage) {
            writeln!(file, "{text}")?;
            events.line(&line)?;
        }
        let (title, now) = (title.to_owned(), Instant::now());
        let (bar, window) = (ProgressBar::hidden(), Window::new());
        let (stage, total, done, step, epoch) = (first_stage, 0, 0, 0, 0);
        Ok(Self {
            file,
            events,
            title,
            lr_encoder,
            stage,
            stages,
            bar,
            plain: now,
            started: now,
            total,
            done,
            step,
            epoch,
            window,
            trial: None,
        })
    }

    /// Holds back the lines from here to [`Log::held`]: of several trials, one may be kept.
    pub fn hold(&mut self) {
        self.trial = Some(Trial { step: self.step, lines: Vec::new() });
    }

    /// Ends a trial and goes back to the step at which it began.
    pub fn held(&mut self) -> Vec<Line> {
        let Some(trial) = self.trial.take() else { return Vec::new() };
        self.step = trial.step;
        trial.lines
    }

    /// Writes the lines of the trial that is kept.
    pub fn keep(&mut self, lines: &[Line]) -> Result<()> {
        self.step = lines.last().map_or(self.step, |line| line.step);
        lines.iter().try_for_each(|line| self.write(line))
    }

    /// Starts a task.
    pub fn stage(&mut self, stage: usize) {
        self.stage = stage;
        self.step = 0;
    }

    /// Starts a phase of `total` rows.
    pub fn phase(&mut self, total: usize) {
        (self.total, self.done, self.started, self.plain) = (total, 0, Instant::now(), Instant::now());
        self.window = Window::new();
        let template = "{msg} {bar:30} {pos}/{len} rows {per_sec} eta {eta}";
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        self.bar = ProgressBar::with_draw_target(Some(total as u64), ProgressDrawTarget::stderr()).with_style(style);
        self.bar.set_message(self.heading());
    }

    fn heading(&self) -> String {
        format!("{} task {}/{}", self.title, self.stage + 1, self.stages)
    }

    /// Counts one batch.
    pub fn step(&mut self, epoch: usize, rows: usize, loss: f64) -> Result<()> {
        (self.done, self.step, self.epoch) = (self.done + rows, self.step + 1, epoch);
        (self.window.rows, self.window.steps) = (self.window.rows + rows, self.window.steps + 1);
        self.window.loss += loss;
        self.bar.set_position(self.done as u64);
        if self.window.steps == LINE_EVERY {
            self.line()?;
        }
        if self.bar.is_hidden() && self.plain.elapsed() > PLAIN_EVERY {
            self.plain = Instant::now();
            let rate = self.done as f64 / self.started.elapsed().as_secs_f64();
            let left = (self.total - self.done) as f64 / rate;
            let share = format!("{}/{} rows, {rate:.1} samples/s, eta {left:.0} s", self.done, self.total);
            eprintln!("{}: {share}, loss {loss:.4}", self.heading());
        }
        Ok(())
    }

    /// Ends a phase.
    pub fn end_phase(&mut self) -> Result<()> {
        self.bar.finish_and_clear();
        if self.window.steps > 0 { self.line() } else { Ok(()) }
    }

    fn line(&mut self) -> Result<()> {
        let window = std::mem::replace(&mut self.window, Window::new());
        let line = Line {
            stage: self.stage,
            epoch: self.epoch,
            step: self.step,
            loss: window.loss / window.steps as f64,
            lr_encoder: self.lr_encoder,
            samples_per_s: window.rows as f64 / window.since.elapsed().as_secs_f64(),
            memory_mib: memory_mib("VmRSS:"),
        };
        match &mut self.trial {
            Some(trial) => trial.lines.push(line),
            None => self.write(&line)?,
        }
        Ok(())
    }

    fn write(&mut self, line: &Line) -> Result<()> {
        writeln!(self.file, "{}", serde_json::to_string(line)?)?;
        self.events.line(line)
    }

    /// Adds the test scores after a task to the events.
    pub fn scores(&mut self, scores: &StageScores) -> Result<()> {
        let named = [
            ("test/micro_f1", scores.micro_f1),
            ("test/macro_f1", scores.macro_f1),
            ("test/accuracy", scores.accuracy),
        ];
        let scalars: Vec<_> = named.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
        self.events.scalars(scores.tasks_learned - 1, &scalars)
    }
}

/// A memory field of Linux's `/proc/self/status` in MiB, 0 elsewhere: `VmRSS:` now, `VmHWM:` at most so far.
pub fn memory_mib(field: &str) -> u64 {
    let status = fs_err::read_to_string("/proc/self/status").unwrap_or_default();
    let kib = status.lines().find_map(|line| line.strip_prefix(field)?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kib.unwrap_or(0) / 1024
}
