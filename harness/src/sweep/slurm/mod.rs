//! Submits the runs of a sweep to Slurm as job arrays, and a job after them that writes the report.
//!
//! A submission is a folder, `slurm/001` below the sweep's: `runs.tsv` (number, spec hash and name of each run that was
//! submitted), `array.sh` and `merge.sh` (the jobs), `jobs.json` (their ids) and what Slurm had to say of tasks that did
//! not go well (`JOB_INDEX.out`). The list is that of the submission, so a plan that changes while jobs wait is noticed and
//! never mistaken. Nothing here judges a run by Slurm's word: what counts is the run's own folder.

mod chunk;
mod client;
mod script;
mod submission;

use std::collections::BTreeSet;
use std::path::Path;

use self::chunk::{Chunk, chunks};
use self::script::Scripts;
use self::submission::{Array, Jobs, Submission};
use super::matrix::{PlannedRun, Sweep};
use crate::error::{Error, Result};

pub use submission::note;

/// Seconds before the time limit at which Slurm signals a run, which then writes its checkpoint. Slurm may be 60 s early.
const MARGIN: u32 = 120;

/// Options of sbatch that the jobs of a sweep need for themselves.
const OURS: [&str; 10] =
    ["--array", "-a", "--dependency", "-d", "--error", "-e", "--output", "-o", "--test-only", "--wrap"];

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
    /// How many runs may run at a time.
    pub at_once: Option<usize>,
}

impl SlurmOptions {
    /// Refuses arguments that would break what mkgc relies on.
    ///
    /// # Errors
    /// An option of sbatch that the jobs need for themselves.
    fn check(&self) -> Result<()> {
        let name = |argument: &String| argument.split('=').next().unwrap_or_default().to_owned();
        match self.sbatch.iter().chain(&self.merge).map(name).find(|name| OURS.contains(&name.as_str())) {
            Some(name) => Err(Error::Usage(format!(
                "--sbatch-arg {name}: mkgc sets this option itself, because it has to know the arrays and their files; \
                 leave it out"
            ))),
            None => Ok(()),
        }
    }

    /// Returns the resources to ask for, unless the user's own arguments do.
    fn resources(&self) -> Option<String> {
        let own = |argument: &String| argument.starts_with("--gres") || argument.starts_with("--gpus");
        let gres = self.gres.as_ref().filter(|_| !self.sbatch.iter().any(own))?;
        Some(format!("--gres={gres}"))
    }

    /// Returns the arguments of `sbatch` for an array.
    fn array(&self, scripts: &Scripts, chunk: &Chunk, after: Option<&str>) -> Vec<String> {
        let mut arguments = vec!["--parsable".to_owned(), "--requeue".to_owned(), "--open-mode=append".to_owned()];
        arguments.push(format!("--job-name={}", scripts.name));
        arguments.push(format!("--signal=B:USR1@{MARGIN}"));
        arguments.extend(self.resources());
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

/// Submits runs, by their numbers, and returns what to tell the user. Runs that an earlier submission still has in the queue
/// are left to it. What is submitted is noted at once, so that a command that fails half-way can be repeated.
///
/// # Errors
/// Slurm's commands are missing or refuse; the folder cannot be written.
pub fn submit(sweep: &Sweep, numbers: &[usize], options: &SlurmOptions) -> Result<String> {
    options.check()?;
    let largest = client::largest_array()?;
    let earlier = Submission::all(sweep.out()?)?;
    let (runs, waiting) = split(sweep, numbers, &earlier)?;
    if runs.is_empty() {
        return Ok(format!("nothing to submit: {} runs are in the queue, the others are finished or failed\n", waiting.runs));
    }
    let mut submission = Submission::create(sweep.out()?, &runs)?;
    let scripts = Scripts::write(submission.folder(), sweep, options)?;
    for chunk in chunks(runs.len(), largest, options.at_once) {
        let after = chunk.after.map(|index| submission.jobs.arrays[index].job.clone());
        let job = client::submit(&options.array(&scripts, &chunk, after.as_deref()));
        let job = job.map_err(|error| half_way(error, &submission.jobs))?;
        submission.jobs.arrays.push(Array { job, offset: chunk.offset, len: chunk.len });
        submission.save()?;
    }
    let arrays = submission.jobs.arrays.iter().map(|array| array.job.clone());
    let after: Vec<String> = arrays.chain(waiting.jobs.iter().cloned()).collect();
    let merge = client::submit(&options.merge(&scripts, &after)).map_err(|error| half_way(error, &submission.jobs))?;
    submission.jobs.merge = Some(merge);
    submission.save()?;
    cancel_reports(&earlier);
    Ok(told(sweep.out()?, runs.len(), waiting.runs, &submission))
}

/// Returns the commands that [`submit`] would call. Nothing is written or submitted.
///
/// # Errors
/// Slurm's commands are missing or refuse.
pub fn preview(sweep: &Sweep, numbers: &[usize], options: &SlurmOptions) -> Result<String> {
    options.check()?;
    let largest = client::largest_array()?;
    let (runs, _) = split(sweep, numbers, &Submission::all(sweep.out()?)?)?;
    let scripts = Scripts::named(&Submission::next(sweep.out()?), sweep)?;
    let id = |index: usize| format!("ARRAY{}", index + 1);
    let chunks = chunks(runs.len(), largest, options.at_once);
    let mut commands: Vec<Vec<String>> = Vec::new();
    for chunk in &chunks {
        commands.push(options.array(&scripts, chunk, chunk.after.map(id).as_deref()));
    }
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

/// Parts runs into those to submit and those that an earlier submission still has in the queue.
fn split<'a>(
    sweep: &'a Sweep,
    numbers: &[usize],
    earlier: &[Submission],
) -> Result<(Vec<&'a PlannedRun>, Waiting)> {
    let queued = if earlier.is_empty() { BTreeSet::new() } else { client::queued()? };
    let mut names = BTreeSet::new();
    let mut waiting = Waiting::default();
    for submission in earlier {
        for (job, name) in submission.tasks().filter(|(job, index, _)| queued.contains(&(job.clone(), *index))).map(
            |(job, _, name)| (job, name),
        ) {
            waiting.jobs.insert(job);
            names.insert(name);
        }
    }
    let mut runs = Vec::new();
    for number in numbers {
        let run = sweep.run(*number)?;
        if names.contains(&run.name) {
            waiting.runs += 1;
        } else {
            runs.push(run);
        }
    }
    Ok((runs, waiting))
}

/// Cancels the reports of earlier submissions that have not begun, because the new one waits for their runs as well.
fn cancel_reports(earlier: &[Submission]) {
    for merge in earlier.iter().filter_map(|submission| submission.jobs.merge.as_ref()) {
        // It has usually ended, which scancel calls an error.
        client::call("scancel", ["--state=PENDING", merge]).ok();
    }
}

fn half_way(error: Error, jobs: &Jobs) -> Error {
    let ids: Vec<&str> = jobs.arrays.iter().map(|array| array.job.as_str()).collect();
    if ids.is_empty() {
        return error;
    }
    Error::Usage(format!("{error}\nsubmitted before that: {}; the same command submits the rest", ids.join(", ")))
}

/// Says what was submitted and how to watch it.
fn told(out: &Path, runs: usize, waiting: usize, submission: &Submission) -> String {
    let jobs = &submission.jobs;
    let ids: Vec<&str> = jobs.arrays.iter().map(|array| array.job.as_str()).chain(jobs.merge.as_deref()).collect();
    let arrays: String = jobs.arrays.iter().map(|array| format!("array {}: {} runs\n", array.job, array.len)).collect();
    let others = if waiting == 0 { String::new() } else { format!(" ({waiting} more are in the queue already)") };
    let merge = jobs.merge.as_deref().unwrap_or_default();
    let out = out.display();
    let folder = submission.folder().display();
    format!(
        "submitted {runs} runs{others}; scripts and list in {folder}\n{arrays}report {merge}: {out}/report, gaps in \
         {folder}/merge.log\nwatch with `squeue --me`, or with the same command and --status in place of --slurm; cancel \
         with `scancel {}`\n",
        ids.join(" ")
    )
}
