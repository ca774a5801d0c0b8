//! What a sweep has to show: the report over its finished runs, and the gaps with their causes.

use std::path::PathBuf;

use super::matrix::Sweep;
use super::slurm::{Notes, notes};
use super::spec::PlannedRun;
use super::state::State;
use crate::error::Result;
use crate::report::board::{Absent, AbsentKind};
use crate::report::{self, Loaded};

/// A run without a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// Folder of the run below `runs/`.
    pub name: String,
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

/// Writes the report over the finished runs of a sweep below its folder. Returns the text, which is empty if no run is
/// finished, and the runs that it lacks.
///
/// # Errors
/// The runs cannot be compared; the report cannot be written.
pub fn write_report(sweep: &Sweep) -> Result<(String, Vec<Gap>)> {
    let mut gaps = Vec::new();
    let mut begun = Vec::new();
    let mut missing = Vec::new();
    let notes = notes(sweep)?;
    for run in &sweep.runs {
        let folder = sweep.folder(run)?;
        let gap = gap(sweep, run, &notes)?;
        if folder.started() {
            begun.push(folder.dir().to_owned());
        } else if let Some(gap) = &gap {
            missing.push((sweep.benchmarks[run.benchmark].name.clone(), absent(run, gap)));
        }
        gaps.extend(gap);
    }
    if gaps.len() == sweep.runs.len() {
        return Ok((String::new(), gaps));
    }
    let Loaded { runs, mut absent } = report::load(&begun)?;
    absent.extend(missing);
    let boards = report::boards(Loaded { runs, absent })?;
    Ok((report::write(&boards, &sweep.out()?.join("report"))?, gaps))
}

fn gap(sweep: &Sweep, run: &PlannedRun, notes: &Notes) -> Result<Option<Gap>> {
    let mut cause = match sweep.observe(run)?.state {
        State::Finished => return Ok(None),
        State::Waiting => "has not begun".to_owned(),
        State::Running => "is still running".to_owned(),
        State::Interrupted(cause) => format!("is unfinished: {cause}"),
        State::Failed(cause) => format!("failed: {cause}"),
    };
    let mut log = Some(sweep.log(run)?).filter(|log| log.exists());
    if let Some((path, said)) = notes.get(&run.name) {
        cause = format!("{cause}; Slurm says: {said}");
        log = log.or_else(|| Some(path.clone()));
    }
    Ok(Some(Gap { name: run.name.clone(), cause, log }))
}

/// Describes a run without a folder, which a report cannot find by itself.
fn absent(run: &PlannedRun, gap: &Gap) -> Absent {
    let variant = run.variant.as_ref().map_or_else(String::new, |variant| format!(" [{variant}]"));
    Absent {
        label: format!("{}{variant}", run.method.name),
        seed: Some(run.settings.config.train_seed),
        kind: if gap.log.is_some() { AbsentKind::Failed } else { AbsentKind::Missing },
        cause: gap.cause.clone(),
        folder: None,
        log: gap.log.as_ref().map(|log| log.display().to_string()),
    }
}
