//! Live progress: on a terminal a bar with samples/s and the time left, otherwise plain lines, with the scores after each
//! task; `metrics.jsonl` and its events for TensorBoard.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::{Deserialize, Serialize};

pub use super::line::{Line, read};
use super::tensorboard::EventFile;
use crate::console::note;
use crate::error::Result;
use crate::files::write_atomically;

/// Seconds between plain progress lines, and steps between lines of `metrics.jsonl`.
const PLAIN_EVERY: Duration = Duration::from_secs(10);
const LINE_EVERY: usize = 50;

/// Writes the progress of one run.
pub struct Log {
    /// None of a log that writes nothing.
    files: Option<LogFiles>,
    /// Whether lines are dropped, because a process that went this way before has written them.
    replaying: bool,
    /// Lines of the present task in the file.
    lines: usize,
    title: String,
    lr_encoder: f64,
    factor: f64,
    stage: usize,
    stages: usize,
    bar: ProgressBar,
    plain: Instant,
    started: Instant,
    total: usize,
    done: usize,
    /// Rows of the phase that an earlier process has done.
    restored: usize,
    step: usize,
    epoch: usize,
    window: Window,
    trial: Option<HeldLines>,
}

struct LogFiles {
    lines: fs_err::File,
    events: EventFile,
}

/// Lines held back, and the step at which the trial began.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct HeldLines {
    step: usize,
    lines: Vec<String>,
}

/// The state of a log inside a task. Numbers that end up in lines are kept as bits, which JSON does not round.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct LogState {
    /// Lines of the task in `metrics.jsonl`.
    pub lines: usize,
    step: usize,
    done: usize,
    epoch: usize,
    factor: u64,
    trial: Option<HeldLines>,
    window_rows: usize,
    window_steps: usize,
    window_loss: u64,
    window_seconds: f64,
    window_scalars: BTreeMap<String, Vec<(usize, u32)>>,
}

struct Window {
    since: Instant,
    /// Seconds that an earlier process spent on it.
    seconds: f64,
    rows: usize,
    steps: usize,
    loss: f64,
    scalars: BTreeMap<String, Vec<(usize, f32)>>,
}

impl Window {
    fn new() -> Self {
        Self { since: Instant::now(), seconds: 0.0, rows: 0, steps: 0, loss: 0.0, scalars: BTreeMap::new() }
    }
}

impl Log {
    /// Opens `metrics.jsonl` for appending, dropping lines of tasks from `first_stage` on (an interrupted task), and
    /// writes the events of the lines kept anew.
    pub fn open(path: &Path, title: &str, stages: usize, first_stage: usize, lr_encoder: f64) -> Result<Self> {
        Self::open_inside(path, title, stages, (first_stage, 0), lr_encoder)
    }

    /// Opens the log of a run that goes on inside a task, of which it keeps so many lines.
    pub fn open_inside(
        path: &Path,
        title: &str,
        stages: usize,
        (stage, lines): (usize, usize),
        lr_encoder: f64,
    ) -> Result<Self> {
        let before = if path.exists() { fs_err::read_to_string(path)? } else { String::new() };
        let mut of_task = 0;
        let mut kept = Vec::new();
        for text in before.lines() {
            let Ok(line) = serde_json::from_str::<Line>(text) else { continue };
            of_task += usize::from(line.stage == stage);
            if line.stage < stage || (line.stage == stage && of_task <= lines) {
                kept.push((text, line));
            }
        }
        // At once, so that a full disk loses no line.
        let text: String = kept.iter().map(|(text, _)| format!("{text}\n")).collect();
        write_atomically(path, text.as_bytes())?;
        let file = fs_err::OpenOptions::new().append(true).open(path)?;
        let mut events = EventFile::create(&path.with_file_name("tensorboard"))?;
        kept.iter().try_for_each(|(_, line)| events.line(line))?;
        Ok(Self { files: Some(LogFiles { lines: file, events }), ..Self::silent(title, stages, stage, lr_encoder) })
    }

    /// Makes a log that writes no file.
    pub fn silent(title: &str, stages: usize, stage: usize, lr_encoder: f64) -> Self {
        Self {
            files: None,
            replaying: false,
            lines: 0,
            title: title.to_owned(),
            lr_encoder,
            factor: 1.0,
            stage,
            stages,
            bar: ProgressBar::hidden(),
            plain: Instant::now(),
            started: Instant::now(),
            total: 0,
            done: 0,
            restored: 0,
            step: 0,
            epoch: 0,
            window: Window::new(),
            trial: None,
        }
    }

    /// Holds back the lines from here to [`Log::held`]: only one of several trials is kept.
    pub fn hold(&mut self) {
        self.trial = Some(HeldLines { step: self.step, lines: Vec::new() });
    }

    /// Ends a trial and goes back to the step at which it began.
    pub fn held(&mut self) -> Vec<String> {
        let Some(trial) = self.trial.take() else { return Vec::new() };
        self.step = trial.step;
        trial.lines
    }

    /// Writes the lines of the trial that is kept.
    pub fn keep(&mut self, lines: &[String]) -> Result<()> {
        for text in lines {
            let line: Line = serde_json::from_str(text)?;
            self.step = line.step;
            self.write(text, &line)?;
        }
        Ok(())
    }

    /// Starts the lines of a task, whose batches are counted from 1. With `replaying`, the lines up to [`Log::restore`] are
    /// in the file already.
    pub fn begin_task(&mut self, stage: usize, replaying: bool) {
        self.stage = stage;
        self.step = 0;
        self.lines = 0;
        self.trial = None;
        self.replaying = replaying;
    }

    /// Returns the state of the log inside a task.
    pub fn state(&self) -> LogState {
        let window = &self.window;
        let bits = |values: &Vec<(usize, f32)>| values.iter().map(|(step, value)| (*step, value.to_bits())).collect();
        LogState {
            lines: self.lines,
            step: self.step,
            done: self.done,
            epoch: self.epoch,
            factor: self.factor.to_bits(),
            trial: self.trial.clone(),
            window_rows: window.rows,
            window_steps: window.steps,
            window_loss: window.loss.to_bits(),
            window_seconds: window.seconds + window.since.elapsed().as_secs_f64(),
            window_scalars: window.scalars.iter().map(|(name, values)| (name.clone(), bits(values))).collect(),
        }
    }

    /// Waits until the lines so far have reached the disk, because a checkpoint says how many there are.
    ///
    /// # Errors
    /// The disk fails.
    pub fn sync(&self) -> Result<()> {
        self.files.as_ref().map_or(Ok(()), |files| Ok(files.lines.sync_data()?))
    }

    /// Goes on from a state, after [`Log::phase`] where the task was in a phase.
    pub fn restore(&mut self, state: LogState) {
        let values =
            |bits: Vec<(usize, u32)>| bits.into_iter().map(|(step, bits)| (step, f32::from_bits(bits))).collect();
        self.replaying = false;
        self.lines = state.lines;
        self.step = state.step;
        self.done = state.done;
        self.restored = state.done;
        self.epoch = state.epoch;
        self.factor = f64::from_bits(state.factor);
        self.trial = state.trial;
        self.window = Window {
            since: Instant::now(),
            seconds: state.window_seconds,
            rows: state.window_rows,
            steps: state.window_steps,
            loss: f64::from_bits(state.window_loss),
            scalars: state.window_scalars.into_iter().map(|(name, bits)| (name, values(bits))).collect(),
        };
        self.bar.set_position(self.done as u64);
    }

    /// Starts a phase of `total` rows.
    pub fn phase(&mut self, total: usize) {
        (self.total, self.done, self.restored) = (total, 0, 0);
        (self.started, self.plain) = (Instant::now(), Instant::now());
        self.window = Window::new();
        let template = "{msg} {bar:30} {pos}/{len} rows {per_sec} eta {eta}";
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        self.bar = ProgressBar::with_draw_target(Some(total as u64), ProgressDrawTarget::stderr()).with_style(style);
        self.bar.set_message(self.heading());
    }

    fn heading(&self) -> String {
        format!("{} task {}/{}", self.title, self.stage + 1, self.stages)
    }

    /// Adds numbers of the step that is counted next.
    pub fn scalars(&mut self, scalars: impl Iterator<Item = (&'static str, f64)>) {
        for (name, value) in scalars {
            self.window.scalars.entry(name.to_owned()).or_default().push((self.step + 1, value as f32));
        }
    }

    /// Sets the factor by which a schedule scales the rate of the next steps.
    pub fn scale_rate(&mut self, factor: f64) {
        self.factor = factor;
    }

    /// Counts a batch and writes a line of `metrics.jsonl` when one is due.
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
            let rate = (self.done - self.restored) as f64 / self.started.elapsed().as_secs_f64();
            let left = (self.total - self.done) as f64 / rate;
            let share = format!("{}/{} rows, {rate:.1} samples/s, eta {left:.0} s", self.done, self.total);
            note(format_args!("{}: {share}, loss {loss:.4}", self.heading()));
        }
        Ok(())
    }

    /// Ends a phase and writes a line with its last batches.
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
            lr_encoder: self.lr_encoder * self.factor,
            samples_per_s: window.rows as f64 / (window.seconds + window.since.elapsed().as_secs_f64()),
            memory_mib: memory_mib("VmRSS:"),
            scalars: window.scalars,
        };
        let text = serde_json::to_string(&line)?;
        match &mut self.trial {
            Some(trial) => trial.lines.push(text),
            None => self.write(&text, &line)?,
        }
        Ok(())
    }

    fn write(&mut self, text: &str, line: &Line) -> Result<()> {
        let Some(files) = self.files.as_mut().filter(|_| !self.replaying) else { return Ok(()) };
        self.lines += 1;
        writeln!(files.lines, "{text}")?;
        files.events.line(line)
    }

    /// Adds the test scores after a task to the event file as `test/NAME` and, without a terminal, prints `summary`.
    ///
    /// # Errors
    /// The event file cannot be written.
    pub fn scores(&mut self, task: usize, summary: &str, scores: &[(&str, f64)]) -> Result<()> {
        let tags: Vec<(String, f64)> = scores.iter().map(|(name, value)| (format!("test/{name}"), *value)).collect();
        let scalars: Vec<(&str, f64)> = tags.iter().map(|(tag, value)| (tag.as_str(), *value)).collect();
        if let Some(files) = &mut self.files {
            files.events.scalars(task, &scalars)?;
        }
        if ProgressDrawTarget::stderr().is_hidden() {
            note(format_args!("{} task {}/{}: {summary}", self.title, task + 1, self.stages));
        }
        Ok(())
    }
}

/// Reads a memory field of Linux's `/proc/self/status` in MiB, 0 elsewhere: `VmRSS:` is the present size, `VmHWM:` the
/// largest so far.
pub fn memory_mib(field: &str) -> u64 {
    let status = fs_err::read_to_string("/proc/self/status").unwrap_or_default();
    let kib = status.lines().find_map(|line| line.strip_prefix(field)?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kib.unwrap_or(0) / 1024
}
