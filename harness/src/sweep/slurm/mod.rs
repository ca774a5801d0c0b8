//! Submits the runs of a sweep to Slurm as job arrays, and a job after them that writes the report.
//!
//! A submission is a folder, `slurm/001` below the sweep's: `runs.tsv` (number, spec hash and name of each run that was
//! submitted), `array.sh` and `merge.sh` (the jobs), `jobs.json` (their ids) and what Slurm had to say of tasks that
//! did not go well (`JOB_INDEX.out`). The list is that of the submission, so a plan that changes while jobs wait is
//! noticed. Nothing here judges a run by Slurm's word: what counts is the run's own folder.

mod chunk;
mod client;
mod script;
mod submission;

use std::collections::BTreeSet;
use std::path::Path;

use self::chunk::{Chunk, chunks};
use self::script::Scripts;
use self::submission::{Array, SlurmJobs, Submission};
use super::jobs::open_encoders;
use super::matrix::Sweep;
use super::spec::PlannedRun;
use super::state::RunState;
use crate::console::counted;
use crate::error::{Error, Result};

pub use submission::{Notes, notes};

/// Seconds before the time limit at which Slurm signals a run, which then writes its checkpoint. Slurm may be 60 s
/// early.
const MARGIN: u32 = 120;

/// Options of sbatch that the jobs of a sweep need for themselves.
const OURS: [&str; 12] = [
    "--array",
    "-a",
    // The queue is looked at on the cluster of this machine.
    "--clusters",
    "-M",
    "--dependency",
    "-d",
    "--error",
    "-e",
    "--output",
    "-o",
    "--test-only",
    "--wrap",
];

/// How the runs are submitted.
#[derive(Debug, Clone, Default)]
pub struct SlurmOptions {
    /// The program and its arguments, to which a job adds what it is to do.
    pub command: Vec<String>,
    /// Arguments for the `sbatch` of every job, which win over those of mkgc.
    pub sbatch: Vec<String>,
    /// Arguments for the `sbatch` of the job that writes the report, which win over the others.
    pub merge: Vec<String>,
    /// Generic resources of each run (`--gres`), e.g. `gpu:1`.
    pub gres: Option<String>,
    /// How many runs may run at a time, at least 1; all that find room if none.
    pub at_once: Option<usize>,
    /// Submit runs again that have failed.
    pub retry_failed: bool,
}

impl SlurmOptions {
    /// Refuses what cannot work on a cluster.
    ///
    /// # Errors
    /// An option of sbatch that the jobs need for themselves; a certain GPU.
    fn check(&self, sweep: &Sweep) -> Result<()> {
        if sweep.device.contains(':') {
            let device = &sweep.device;
            return Err(Error::Usage(format!(
                "--device {device}: Slurm chooses the GPU of each run; give --device cuda"
            )));
        }
        // The value of a short option may follow its letter at once.
        let name = |argument: &String| {
            let short = argument.get(..2).filter(|short| *short != "--");
            short.unwrap_or_else(|| argument.split('=').next().unwrap_or_default()).to_owned()
        };
        match self.sbatch.iter().chain(&self.merge).map(name).find(|name| OURS.contains(&name.as_str())) {
            Some(name) => Err(Error::Usage(format!(
                "--sbatch-arg {name}: mkgc sets this option itself, because it has to know the arrays and their files; \
                 leave it out"
            ))),
            None => Ok(()),
        }
    }

    /// Returns the generic resources to ask for: those given or, on a GPU, `gpu:1`, unless the user's own arguments ask
    /// for some.
    fn resources(&self, device: &str) -> Option<String> {
        let own = |argument: &String| ["--gres", "--gpus", "-G"].iter().any(|name| argument.starts_with(name));
        let one = || (device == "cuda" && !self.sbatch.iter().any(own)).then(|| "gpu:1".to_owned());
        Some(format!("--gres={}", self.gres.clone().or_else(one)?))
    }

    /// Returns the arguments of `sbatch` for an array.
    fn array(&self, sweep: &Sweep, scripts: &Scripts, chunk: &Chunk, after: Option<&str>) -> Vec<String> {
        let mut arguments = vec!["--parsable".to_owned(), "--requeue".to_owned(), "--open-mode=append".to_owned()];
        arguments.push(format!("--job-name={}", scripts.name));
        arguments.push(format!("--signal=B:USR1@{MARGIN}"));
        arguments.extend(self.resources(&sweep.device));
        arguments.extend(self.sbatch.clone());
        arguments.push(format!("--array={}", chunk.array()));
        arguments.push(format!("--output={}", scripts.notes()));
        arguments.extend(after.map(|job| format!("--dependency=afterany:{job}")));
        arguments.extend([scripts.array(), chunk.offset.to_string()]);
        arguments
    }

    /// Returns the arguments of `sbatch` for the report.
    fn merge(&self, scripts: &Scripts, after: &[String]) -> Vec<String> {
        let mut arguments = vec!["--parsable".to_owned(), "--requeue".to_owned()];
        arguments.push(format!("--job-name={}-report", scripts.name));
        arguments.extend(self.sbatch.clone());
        arguments.extend(self.merge.clone());
        arguments.push(format!("--output={}", scripts.merge_log()));
        // `afterok` would wait for ever after the first failure.
        arguments.push(format!("--dependency=afterany:{}", after.join(":")));
        arguments.push(scripts.merge());
        arguments
    }
}

/// Submits the runs that are not finished, and returns what to tell the user. Runs that an earlier submission still has
/// in the queue are left to it. What is submitted is noted at once, so that a command that fails half-way can be
/// repeated. The benchmarks must have been built, see [`Sweep::build`].
///
/// # Errors
/// Slurm's commands are missing or refuse; an encoder cannot be opened; the folder cannot be written.
pub fn submit(sweep: &Sweep, options: &SlurmOptions) -> Result<String> {
    options.check(sweep)?;
    let largest = client::largest_array()?;
    let earlier = Submission::all(sweep.out()?)?;
    let Parted { runs, waiting, running, failed } = part(sweep, options, &earlier)?;
    let others = others(waiting.runs, running, failed);
    if runs.is_empty() {
        let report = submit_missing_report(sweep, options, earlier, waiting.jobs)?;
        return Ok(format!("nothing to submit: no run is open{others}\n{report}"));
    }
    open_encoders(runs.iter().copied())?;
    let mut submission = Submission::create(sweep.out()?, &runs)?;
    let scripts = Scripts::write(submission.folder(), sweep, &options.command)?;
    for chunk in chunks(runs.len(), largest, options.at_once) {
        let after = chunk.after.map(|index| submission.jobs.arrays[index].job.clone());
        let job = client::submit(&options.array(sweep, &scripts, &chunk, after.as_deref()));
        let job = job.map_err(|error| half_way(error, &submission.jobs))?;
        submission.jobs.arrays.push(Array { job, offset: chunk.offset, len: chunk.len });
        submission.save()?;
    }
    let arrays = submission.jobs.arrays.iter().map(|array| array.job.clone());
    let after: Vec<String> = arrays.chain(waiting.jobs).collect();
    let merge = client::submit(&options.merge(&scripts, &after)).map_err(|error| half_way(error, &submission.jobs))?;
    submission.jobs.merge = Some(merge);
    submission.save()?;
    cancel_reports(&earlier);
    Ok(told(sweep.out()?, &format!("{}{others}", counted(runs.len(), "run")), &submission))
}

/// Submits the report of the last submission if Slurm refused it and runs of the sweep are still in the queue. Returns
/// what to tell the user.
fn submit_missing_report(
    sweep: &Sweep,
    options: &SlurmOptions,
    mut earlier: Vec<Submission>,
    queued: BTreeSet<String>,
) -> Result<String> {
    let last = earlier.pop().filter(|last| last.jobs.merge.is_none() && !queued.is_empty());
    let Some(mut last) = last else { return Ok(String::new()) };
    let scripts = Scripts::named(last.folder(), sweep)?;
    let after: Vec<String> = queued.into_iter().collect();
    let job = client::submit(&options.merge(&scripts, &after))?;
    let told = format!("job {job} writes the report to {}\n", sweep.out()?.join("report").display());
    last.jobs.merge = Some(job);
    last.save()?;
    cancel_reports(&earlier);
    Ok(told)
}

/// Returns the commands that [`submit`] would call. Nothing is written or submitted.
///
/// # Errors
/// Slurm's commands are missing or refuse.
pub fn preview(sweep: &Sweep, options: &SlurmOptions) -> Result<String> {
    options.check(sweep)?;
    let largest = client::largest_array()?;
    let runs = part(sweep, options, &Submission::all(sweep.out()?)?)?.runs;
    let scripts = Scripts::named(&Submission::next(sweep.out()?), sweep)?;
    let id = |index: usize| format!("ARRAY{}", index + 1);
    let chunks = chunks(runs.len(), largest, options.at_once);
    let array = |chunk: &Chunk| options.array(sweep, &scripts, chunk, chunk.after.map(id).as_deref());
    let mut commands: Vec<Vec<String>> = chunks.iter().map(array).collect();
    if !chunks.is_empty() {
        commands.push(options.merge(&scripts, &(0..chunks.len()).map(id).collect::<Vec<_>>()));
    }
    commands.iter().map(|command| Ok(format!("sbatch {}\n", script::quoted(command)?))).collect()
}

/// What earlier submissions have in the queue.
#[derive(Default)]
struct Waiting {
    runs: usize,
    jobs: BTreeSet<String>,
}

/// The runs of a sweep that are not finished.
struct Parted<'a> {
    /// The runs to submit, which no earlier submission has in the queue.
    runs: Vec<&'a PlannedRun>,
    waiting: Waiting,
    /// How many a process works on that is in no queue.
    running: usize,
    /// How many have failed and are not made again.
    failed: usize,
}

/// Parts runs into those to submit, those that an earlier submission still has in the queue, those that run and those
/// that failed.
fn part<'a>(sweep: &'a Sweep, options: &SlurmOptions, earlier: &[Submission]) -> Result<Parted<'a>> {
    let queued = if earlier.is_empty() { BTreeSet::new() } else { client::queued()? };
    let mut waiting = Waiting::default();
    let mut names = BTreeSet::new();
    for (job, index, name) in earlier.iter().flat_map(Submission::tasks) {
        if queued.contains(&(job.clone(), index)) {
            waiting.jobs.insert(job);
            names.insert(name);
        }
    }
    let mut parted = Parted { runs: Vec::new(), waiting, running: 0, failed: 0 };
    for run in &sweep.runs {
        let state = sweep.observe(run)?.state;
        if names.contains(&run.name) {
            parted.waiting.runs += 1;
        } else if state.is_open(options.retry_failed) {
            parted.runs.push(run);
        } else {
            parted.running += usize::from(state == RunState::Running);
            parted.failed += usize::from(matches!(state, RunState::Failed(_)));
        }
    }
    Ok(parted)
}

/// Says of which runs a submission takes no notice.
fn others(queued: usize, running: usize, failed: usize) -> String {
    let parts = [
        (queued, "are in the queue already"),
        (running, "are running"),
        (failed, "have failed and are submitted again with --retry-failed"),
    ];
    let parts = parts.into_iter().filter(|(runs, _)| *runs > 0);
    let all: Vec<String> = parts.map(|(runs, what)| format!("{runs} {what}")).collect();
    if all.is_empty() { String::new() } else { format!(" ({})", all.join("; ")) }
}

/// Cancels the reports of earlier submissions that have not begun, because the new one waits for their runs as well.
fn cancel_reports(earlier: &[Submission]) {
    for merge in earlier.iter().filter_map(|submission| submission.jobs.merge.as_ref()) {
        // It has usually ended, which scancel calls an error.
        client::call("scancel", ["--state=PENDING", merge]).ok();
    }
}

fn half_way(error: Error, jobs: &SlurmJobs) -> Error {
    let ids: Vec<&str> = jobs.arrays.iter().map(|array| array.job.as_str()).collect();
    if ids.is_empty() {
        return error;
    }
    Error::Usage(format!("{error}\nsubmitted before that: {}; the same command submits the rest", ids.join(", ")))
}

/// Says what was submitted and how to watch it.
fn told(out: &Path, what: &str, submission: &Submission) -> String {
    let jobs = &submission.jobs;
    let ids: Vec<&str> = jobs.arrays.iter().map(|array| array.job.as_str()).chain(jobs.merge.as_deref()).collect();
    let arrays: String =
        jobs.arrays.iter().map(|array| format!("array {}: {}\n", array.job, counted(array.len, "run"))).collect();
    let merge = jobs.merge.as_deref().unwrap_or_default();
    let report = out.join("report").display().to_string();
    let folder = submission.folder().display();
    format!(
        "submitted {what}; list, scripts and what Slurm says are in {folder}\n{arrays}job {merge} writes the report to \
         {report} and lists the gaps in {folder}/merge.log\nwatch: the same command with --status in place of --slurm\n\
         cancel: scancel {}\n",
        ids.join(" ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gpu_is_asked_for_unless_the_user_does() {
        let asked = |device: &str, argument: &str| {
            SlurmOptions { sbatch: vec![argument.to_owned()], ..SlurmOptions::default() }.resources(device)
        };
        assert_eq!(asked("cuda", "--time=60").as_deref(), Some("--gres=gpu:1"));
        for own in ["--gres=gpu:a100:2", "--gpus-per-node=1", "-G", "-G1"] {
            assert_eq!(asked("cuda", own), None, "{own}");
        }
        assert_eq!(asked("cpu", "--time=60"), None);
    }
}
