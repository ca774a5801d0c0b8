//! Live progress: on a terminal a bar with samples/s and the time left, otherwise plain lines, with the scores after each
//! task; `metrics.jsonl` and its events for TensorBoard.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

pub use super::line::{Line, read};
use super::tensorboard::EventFile;
use crate::console::note;
use crate::error::Result;

/// Seconds between plain progress lines, and steps between lines of `metrics.jsonl`.
const PLAIN_EVERY: Duration = Duration::from_secs(10);
const LINE_EVERY: usize = 50;

/// Writes the progress of one run.
pub struct Log {
    file: fs_err::File,
    events: EventFile,
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
    step: usize,
    epoch: usize,
    window: Window,
    trial: Option<HeldLines>,
}

/// Lines held back, and the step at which the trial began.
struct HeldLines {
    step: usize,
    lines: Vec<Line>,
}

struct Window {
    since: Instant,
    rows: usize,
    steps: usize,
    loss: f64,
    scalars: BTreeMap<String, Vec<(usize, f32)>>,
}

impl Window {
    fn new() -> Self {
        Self { since: Instant::now(), rows: 0, steps: 0, loss: 0.0, scalars: BTreeMap::new() }
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
        Ok(Self {
            file,
            events,
            title: title.to_owned(),
            lr_encoder,
            factor: 1.0,
            stage: first_stage,
            stages,
            bar: ProgressBar::hidden(),
            plain: Instant::now(),
            started: Instant::now(),
            total: 0,
            done: 0,
            step: 0,
            epoch: 0,
            window: Window::new(),
            trial: None,
        })
    }

    /// Holds back the lines from here to [`Log::held`]: only one of several trials is kept.
    pub fn hold(&mut self) {
        self.trial = Some(HeldLines { step: self.step, lines: Vec::new() });
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

    /// Starts the lines of a task, whose batches are counted from 1.
    pub fn begin_task(&mut self, stage: usize) {
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
            let rate = self.done as f64 / self.started.elapsed().as_secs_f64();
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
            samples_per_s: window.rows as f64 / window.since.elapsed().as_secs_f64(),
            memory_mib: memory_mib("VmRSS:"),
            scalars: window.scalars,
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

    /// Adds the test scores after a task to the event file as `test/NAME` and, without a terminal, prints `summary`.
    ///
    /// # Errors
    /// The event file cannot be written.
    pub fn scores(&mut self, task: usize, summary: &str, scores: &[(&str, f64)]) -> Result<()> {
        let tags: Vec<(String, f64)> = scores.iter().map(|(name, value)| (format!("test/{name}"), *value)).collect();
        let scalars: Vec<(&str, f64)> = tags.iter().map(|(tag, value)| (tag.as_str(), *value)).collect();
        self.events.scalars(task, &scalars)?;
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
