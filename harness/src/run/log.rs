//! Live progress: a bar with samples/s and time left on a terminal, plain lines otherwise, with the scores after each task,
//! and `metrics.jsonl` with its events for TensorBoard.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::{Deserialize, Serialize};

use super::tensorboard::EventFile;
use crate::error::Result;
use crate::metrics::StageMetric;
use crate::metrics::stage::StageScores;
use crate::metrics::value::{Mean, Value};

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
    /// Encoder learning rate of the last step.
    pub lr_encoder: f64,
    /// Rows of the task per second of wall time.
    pub samples_per_s: f64,
    /// Resident memory, MiB (0 where the system does not tell).
    pub memory_mib: u64,
    /// Numbers of single steps since the line before: step and value, by name. `rho` is LMC's ρ_vision: what the vision
    /// stream gives the gold labels over what the text stream does (LMC: each step; other methods of two streams: every
    /// 50th). `kappa_text` and `kappa_vision` are the factors of LMC's gradients.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub scalars: BTreeMap<String, Vec<(usize, f32)>>,
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
    /// Micro-F1 after each task so far.
    scored: Vec<Value>,
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
        let (title, now) = (title.to_owned(), Instant::now());
        let (bar, window) = (ProgressBar::hidden(), Window::new());
        let (stage, total, done, step, epoch) = (first_stage, 0, 0, 0, 0);
        Ok(Self {
            file,
            events,
            title,
            lr_encoder,
            factor: 1.0,
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
            scored: Vec::new(),
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

    /// Numbers of the step that is counted next.
    pub fn scalars(&mut self, scalars: impl Iterator<Item = (&'static str, f64)>) {
        for (name, value) in scalars {
            self.window.scalars.entry(name.to_owned()).or_default().push((self.step + 1, value as f32));
        }
    }

    /// Says what a schedule scales the rate of the next steps by.
    pub fn scale_rate(&mut self, factor: f64) {
        self.factor = factor;
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

    /// Adds the test scores after a task to the events and, without a terminal, says them.
    pub fn scores(&mut self, task: &str, scores: StageScores) -> Result<()> {
        let logged = StageMetric::ALL.iter().filter(|metric| !metric.masked());
        let named: Vec<_> = logged.map(|metric| (format!("test/{}", metric.key()), scores.get(*metric))).collect();
        let scalars: Vec<_> = named.iter().filter_map(|(name, value)| Some((name.as_str(), value.number()?))).collect();
        self.events.scalars(scores.tasks_learned - 1, &scalars)?;
        self.scored.push(scores.micro_f1);
        if ProgressDrawTarget::stderr().is_hidden() {
            eprintln!("{} task {}/{}: {}", self.title, scores.tasks_learned, self.stages, said(task, &self.scored));
        }
        Ok(())
    }
}

/// Micro-F1 after a task, the last of `scored`, and its mean over the tasks so far.
fn said(task: &str, scored: &[Value]) -> String {
    let percent = |value: &Value| match value {
        Value::Number(share) => format!("{:.1}", share * 100.0),
        Value::Undefined(reason) => reason.clone(),
    };
    let last = scored.last().map_or_else(String::new, percent);
    format!("{task}: micro-F1 {last}, average so far {}", percent(&Mean::over(scored).value))
}

/// A memory field of Linux's `/proc/self/status` in MiB, 0 elsewhere: `VmRSS:` now, `VmHWM:` at most so far.
pub fn memory_mib(field: &str) -> u64 {
    let status = fs_err::read_to_string("/proc/self/status").unwrap_or_default();
    let kib = status.lines().find_map(|line| line.strip_prefix(field)?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kib.unwrap_or(0) / 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_scores_names_the_task_and_averages_what_is_defined() {
        let mut scored = vec![Value::Number(0.895)];
        assert_eq!(said("peer", &scored), "peer: micro-F1 89.5, average so far 89.5");
        scored.extend([Value::undefined("no test rows after task 2"), Value::Number(0.5)]);
        assert_eq!(
            said("a b", &scored[..2]),
            "a b: micro-F1 undefined: no test rows after task 2, average so far 89.5"
        );
        assert_eq!(said("c", &scored), "c: micro-F1 50.0, average so far 69.8");
    }
}
