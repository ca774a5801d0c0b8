//! What a sweep has to show: the report over its finished runs, and the gaps with their causes.

use std::path::PathBuf;

use super::matrix::Sweep;
use super::slurm::notes;
use super::spec::PlannedRun;
use super::state::RunState;
use super::table::unfinished;
use crate::error::Result;
use crate::report::board::{Absent, AbsentKind};
use crate::report::{self, AbsentRun, Loaded};
use crate::run::record::RunRecord;
use crate::run::{RunFolder, lock};

/// A run without a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// Folder of the run below `runs/`.
    pub name: String,
    /// What has become of the run, as [`RunState::word`] has it.
    pub state: &'static str,
    /// Why there is no result.
    pub cause: String,
    /// What the run printed, if it ever began.
    pub log: Option<PathBuf>,
}

impl std::fmt::Display for Gap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.name, self.cause)?;
        self.log.as_ref().map_or(Ok(()), |log| write!(f, " (see {})", log.display()))
    }
}

/// Says how many of `all` runs have no result, and what has become of them: `2 of 9 runs have no result (1 running, 1
/// failed)`.
pub fn lacking(gaps: &[Gap], all: usize) -> String {
    let states: Vec<String> = unfinished(|state| gaps.iter().filter(|gap| gap.state == state).count()).collect();
    format!("{} of {all} runs have no result ({})", gaps.len(), states.join(", "))
}

/// Writes the report over the finished runs of a sweep below its folder. Returns the text, which is empty if no run is
/// finished, and the runs that it lacks.
///
/// # Errors
/// The runs cannot be compared; the report cannot be written.
pub fn write_report(sweep: &Sweep) -> Result<(String, Vec<Gap>)> {
    let mut finished = Vec::new();
    let mut gaps = Vec::new();
    let mut known = Vec::new();
    let notes = notes(sweep)?;
    for run in &sweep.runs {
        let folder = sweep.folder(run)?;
        let state = sweep.observe(run)?.state;
        let Some((kind, mut cause)) = missing(&state, &folder) else {
            finished.push(folder.dir().to_owned());
            continue;
        };
        let mut log = Some(sweep.log(run)?).filter(|log| log.exists());
        if let Some((path, said)) = notes.get(&run.name) {
            cause = format!("{cause}; Slurm says: {said}");
            log = log.or_else(|| Some(path.clone()));
        }
        let gap = Gap { name: run.name.clone(), state: state.word(), cause, log };
        known.push(absent(sweep, run, kind, &gap)?);
        gaps.push(gap);
    }
    let Loaded { runs, mut absent } = report::load(&finished)?;
    // Finished runs whose predictions cannot be read.
    for AbsentRun { absent: run, .. } in &absent {
        let name = run.folder.clone().unwrap_or_else(|| run.label.clone());
        gaps.push(Gap { name, state: "failed", cause: format!("{}: {}", run.kind, run.cause), log: None });
    }
    if runs.is_empty() {
        return Ok((String::new(), gaps));
    }
    absent.extend(known);
    let boards = report::boards(Loaded { runs, absent })?;
    Ok((report::write(&boards, &sweep.out()?.join("report"))?, gaps))
}

/// Says why a run has no result; none if it has one.
fn missing(state: &RunState, folder: &RunFolder) -> Option<(AbsentKind, String)> {
    match state {
        RunState::Finished => None,
        RunState::Waiting => Some((AbsentKind::Missing, "has not begun".to_owned())),
        RunState::Running => Some((AbsentKind::Unfinished, format!("is still running{}", holder(folder)))),
        RunState::Interrupted(cause) => Some((AbsentKind::Unfinished, format!("is unfinished: {cause}"))),
        RunState::Failed(cause) => Some((AbsentKind::Failed, format!("failed: {cause}"))),
    }
}

/// Says which process works on a run, and what to do if it is gone, which only its own host could tell.
fn holder(folder: &RunFolder) -> String {
    let Ok(Some(held)) = lock::holder(folder) else { return String::new() };
    let (pid, host, since) = (held.pid, &held.host, held.since_text());
    let lock = folder.lock();
    format!(
        ": process {pid} on host {host} has worked on it since {since}; if that process no longer runs, delete {}",
        lock.display()
    )
}

/// Describes a gap as reports show it.
fn absent(sweep: &Sweep, run: &PlannedRun, kind: AbsentKind, gap: &Gap) -> Result<AbsentRun> {
    let folder = sweep.folder(run)?;
    let record = folder.record().ok();
    let variant = run.variant.as_ref().map_or_else(String::new, |variant| format!(" [{variant}]"));
    let planned = || format!("{}{variant}", run.method.name);
    let absent = Absent {
        label: record.as_ref().map_or_else(planned, RunRecord::label),
        seed: Some(run.settings.config.train_seed),
        kind,
        cause: gap.cause.clone(),
        folder: folder.started().then(|| folder.dir().display().to_string()),
        log: gap.log.as_ref().map(|log| log.display().to_string()),
    };
    let benchmark = Some(sweep.benchmarks[run.benchmark].name.clone());
    Ok(AbsentRun { benchmark, dataset: record.map(|record| record.dataset), absent })
}
