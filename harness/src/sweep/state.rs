//! What a run has reached, read from its folder, its log and the failure that its process noted.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::matrix::Sweep;
use super::spec::{PlannedRun, encoder_name};
use crate::error::Result;
use crate::files::{GOES_ON, read_json, write_json};
use crate::run::RunFolder;
use crate::run::failure::Failure;
use crate::run::lock;
use crate::run::record::{DatasetRecord, EncoderRecord, Model, RunRecord, SCHEMA_VERSION};
use crate::run::stop::check_result;

/// What has become of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunState {
    /// The run has not begun.
    Waiting,
    /// A process holds the lock of the run and trains it.
    Running,
    /// The run began and has no result yet. Says how its process ended; a sweep goes on from the checkpoint.
    Interrupted(String),
    /// The run ended with an error, or its folder is damaged or that of another run. Says what is wrong.
    Failed(String),
    /// The run has its result.
    Finished,
}

impl RunState {
    /// Returns the state in one word.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Interrupted(_) => "interrupted",
            Self::Failed(_) => "failed",
            Self::Finished => "finished",
        }
    }

    /// Tells whether the run is to be made. One that has failed is only if `retry_failed`, and one that a process
    /// trains is left to that process.
    pub(super) fn is_open(&self, retry_failed: bool) -> bool {
        match self {
            Self::Finished | Self::Running => false,
            Self::Failed(_) => retry_failed,
            Self::Waiting | Self::Interrupted(_) => true,
        }
    }
}

/// A run as its folder shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct Observed {
    /// What has become of it.
    pub state: RunState,
    /// Number of tasks that it has learned.
    pub learned: usize,
    /// Number of tasks that it has to learn.
    pub tasks: usize,
    /// Seconds that a finished run took.
    pub seconds: Option<f64>,
}

impl Sweep {
    /// Looks at the folder of a run.
    ///
    /// # Errors
    /// There is no folder for the sweep.
    pub fn observe(&self, run: &PlannedRun) -> Result<Observed> {
        let folder = self.folder(run)?;
        let tasks = run.tasks.unwrap_or(self.benchmarks[run.benchmark].tasks);
        let learned = folder.tasks_learned(tasks);
        let record = folder.started().then(|| folder.record());
        let mut seconds = None;
        let state = match record {
            None => self.noted(run)?.unwrap_or(RunState::Waiting),
            Some(Err(error)) => RunState::Failed(error.to_string()),
            Some(Ok(record)) => {
                seconds = record.cost.as_ref().map(|cost| cost.wall_seconds);
                self.begun(run, &record, tasks)?
            }
        };
        Ok(Observed { state, learned, tasks, seconds })
    }

    /// Returns the state of a run whose folder has a record.
    fn begun(&self, run: &PlannedRun, record: &RunRecord, tasks: usize) -> Result<RunState> {
        let folder = self.folder(run)?;
        if let Err(error) = folder.check_goes_on(record, &self.planned(run, record), run.method.later_settings) {
            return Ok(RunState::Failed(error.to_string()));
        }
        if folder.result().exists() && record.tasks() == tasks {
            let damage = check_result(&folder, record).err();
            return Ok(damage.map_or(RunState::Finished, |error| RunState::Failed(error.to_string())));
        }
        match lock::holder(&folder) {
            Ok(None) => {}
            Ok(Some(_)) => return Ok(RunState::Running),
            // A lock that cannot be read is the trouble of this run alone.
            Err(error) => return Ok(RunState::Failed(error.to_string())),
        }
        if folder.failure().exists() {
            return Ok(failed(&folder.failure()));
        }
        if let Some(state) = self.noted(run)? {
            return Ok(state);
        }
        let learned = folder.tasks_learned(tasks);
        let last = last_line(&self.log(run)?).map_or_else(String::new, |line| format!("; its log ends with: {line}"));
        Ok(RunState::Interrupted(format!("stopped after {learned} of {tasks} tasks{last}")))
    }

    /// Returns the record that the plan asks for. What the plan does not know is as in `record`, that of the folder: the
    /// weights of encoders, for one, are compared when the run is opened.
    fn planned(&self, run: &PlannedRun, record: &RunRecord) -> RunRecord {
        let method = run.method.name.to_owned();
        let mut planned = RunRecord { method, variant: run.variant.clone(), stop_after: run.tasks, ..record.clone() };
        let manifest = self.benchmarks[run.benchmark].manifest.as_ref();
        if let Some(manifest) = manifest.filter(|manifest| manifest.fingerprint != record.dataset.fingerprint) {
            planned.dataset = DatasetRecord::new(manifest);
        }
        if let Model::Trained(trained) = &mut planned.model {
            rename(&mut trained.encoder, &run.encoder);
            if let Some(vision) = &mut trained.vision {
                rename(&mut vision.encoder, &run.vision);
            }
            if record.device_kind() != self.device.split(':').next().unwrap_or_default() {
                trained.device.clone_from(&self.device);
            }
            trained.dtype.clone_from(&self.dtype);
            trained.config = run.settings.config.clone();
        }
        planned
    }

    /// Returns the path of the note of a failure that the run folder has no `failure.json` for, because the run ended
    /// before its folder was made, or without a word.
    fn note(&self, run: &PlannedRun) -> Result<PathBuf> {
        Ok(self.logs()?.join(format!("{}.failure.json", run.name)))
    }

    fn noted(&self, run: &PlannedRun) -> Result<Option<RunState>> {
        let note = self.note(run)?;
        Ok(note.exists().then(|| failed(&note)))
    }

    /// Notes why a run failed, unless its folder says so, or another process trains it: then only the attempt failed.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub(super) fn note_failure(&self, run: &PlannedRun, cause: String) -> Result<()> {
        let folder = self.folder(run)?;
        if folder.failure().exists() || !matches!(lock::holder(&folder), Ok(None)) {
            return Ok(());
        }
        let failure = Failure {
            schema_version: SCHEMA_VERSION,
            code_version: env!("CARGO_PKG_VERSION").to_owned(),
            tasks_learned: self.observe(run)?.learned,
            error: vec![cause],
        };
        write_json(&self.note(run)?, &failure)
    }

    /// Deletes the note of a failure, because the run is made again.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub(super) fn clear_failure(&self, run: &PlannedRun) -> Result<()> {
        let note = self.note(run)?;
        if note.exists() { Ok(fs_err::remove_file(note)?) } else { Ok(()) }
    }
}

/// Puts an encoder that is only known by name in the place of one of another name.
fn rename(encoder: &mut EncoderRecord, planned: &str) {
    let name = encoder_name(planned);
    if encoder.name != name {
        *encoder = EncoderRecord::built_in(&name);
    }
}

/// Returns the state of a run of which a file says why it ended. Where the disk was full, the run is not to blame, and the next
/// sweep goes on with it.
fn failed(path: &Path) -> RunState {
    match read_json::<Failure>(path) {
        Ok(failure) => {
            let cause = failure.error.join(": ");
            if cause.contains(GOES_ON) { RunState::Interrupted(cause) } else { RunState::Failed(cause) }
        }
        Err(error) => RunState::Failed(error.to_string()),
    }
}

/// Returns the last line of a file that is not empty.
pub(super) fn last_line(path: &Path) -> Option<String> {
    let bytes = fs_err::read(path).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    text.lines().rev().map(str::trim).find(|line| !line.is_empty()).map(str::to_owned)
}

/// Estimates how long a run in training still takes, from the times at which its record and its predictions were
/// written: the median time of a task for each of those that are left. None before the first task is learned.
pub(super) fn time_left(folder: &RunFolder, observed: &Observed, now: SystemTime) -> Option<Duration> {
    let written = |path: PathBuf| fs_err::metadata(path).ok()?.modified().ok();
    let stages = (0..observed.learned).map(|stage| folder.predictions(stage));
    let times: Vec<SystemTime> =
        std::iter::once(folder.metrics().with_file_name("run.json")).chain(stages).filter_map(written).collect();
    remaining(&times, observed.tasks - observed.learned, now)
}

/// Returns the median of the differences of `times`, for each of the tasks that are `left`, less the time since the
/// last.
fn remaining(times: &[SystemTime], left: usize, now: SystemTime) -> Option<Duration> {
    let mut gaps: Vec<Duration> = times.windows(2).filter_map(|pair| pair[1].duration_since(pair[0]).ok()).collect();
    gaps.sort_unstable();
    let task = *gaps.get(gaps.len() / 2)?;
    let since = now.duration_since(*times.last()?).unwrap_or_default();
    let left = u32::try_from(left).unwrap_or(u32::MAX);
    Some(task.saturating_mul(left).saturating_sub(since.min(task)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_time_left_is_that_of_a_usual_task_for_each_task_left() {
        let at = |seconds: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        assert_eq!(remaining(&[at(100)], 4, at(110)), None, "no task is learned");
        assert_eq!(remaining(&[at(100), at(160)], 3, at(170)), Some(Duration::from_secs(170)));
        // A night passed between the second task and the third.
        let times = [at(100), at(160), at(220), at(50_000), at(50_060)];
        assert_eq!(remaining(&times, 2, at(50_060)), Some(Duration::from_secs(120)));
        assert_eq!(remaining(&times, 1, at(99_999)), Some(Duration::ZERO), "late is not negative");
    }
}
