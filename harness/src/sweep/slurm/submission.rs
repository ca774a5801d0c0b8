//! The folder of a submission: which runs were submitted as which tasks of which jobs.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::console::note;
use crate::error::Result;
use crate::files::{read_json, write_atomically, write_json_durably};
use crate::sweep::matrix::Sweep;
use crate::sweep::spec::PlannedRun;

/// The list of runs, one a line: number, spec hash, name.
pub(super) const LIST: &str = "runs.tsv";

/// The ids of the jobs.
const JOBS: &str = "jobs.json";

/// A job array of a submission.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Array {
    /// Slurm's number of the job, which all of its tasks share.
    pub job: String,
    /// Line of the list that its first task makes, from 0.
    pub offset: usize,
    /// How many lines of the list its tasks make, one each.
    pub len: usize,
}

/// What `jobs.json` holds: the jobs that Slurm has taken of a submission.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct SlurmJobs {
    /// The arrays, in the order of the list.
    pub arrays: Vec<Array>,
    /// The job that writes the report, once it is submitted.
    pub merge: Option<String>,
}

/// One call of `mkgc sweep --slurm`.
pub(super) struct Submission {
    folder: PathBuf,
    /// Names of the runs, in the order of the list.
    names: Vec<String>,
    /// What Slurm has taken of it so far.
    pub jobs: SlurmJobs,
}

impl Submission {
    /// Returns the folder of the next submission of a sweep.
    pub fn next(out: &Path) -> PathBuf {
        let folder = |number: usize| out.join("slurm").join(format!("{number:03}"));
        (1..).map(folder).find(|folder| !folder.exists()).unwrap_or_default()
    }

    /// Makes the folder of a submission with the list of its runs.
    pub fn create(out: &Path, runs: &[&PlannedRun]) -> Result<Self> {
        fs_err::create_dir_all(out.join("slurm"))?;
        let folder = loop {
            let folder = Self::next(out);
            match fs_err::create_dir(&folder) {
                // Another call took the number in between.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                made => break made.map(|()| folder)?,
            }
        };
        let line = |run: &&PlannedRun| format!("{}\t{}\t{}\n", run.number, run.hash, run.name);
        write_atomically(&folder.join(LIST), runs.iter().map(line).collect::<String>().as_bytes())?;
        let names = runs.iter().map(|run| run.name.clone()).collect();
        Ok(Self { folder, names, jobs: SlurmJobs::default() })
    }

    /// Returns the submissions of a sweep, the first one first.
    ///
    /// # Errors
    /// A file of one cannot be read or is cut off.
    pub fn all(out: &Path) -> Result<Vec<Self>> {
        Self::folders(out)?.into_iter().map(Self::read).collect()
    }

    /// Returns the folders of the submissions, the first one first.
    fn folders(out: &Path) -> Result<Vec<PathBuf>> {
        let mut folders = Vec::new();
        match fs_err::read_dir(out.join("slurm")) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            entries => {
                for entry in entries? {
                    folders.push(entry?.path());
                }
            }
        }
        folders.retain(|folder| folder.join(JOBS).is_file());
        // `1000` comes after `999`.
        folders.sort_by_key(|folder| (folder.as_os_str().len(), folder.clone()));
        Ok(folders)
    }

    fn read(folder: PathBuf) -> Result<Self> {
        let list = fs_err::read_to_string(folder.join(LIST))?;
        let names = list.lines().filter_map(|line| line.split('\t').nth(2)).map(str::to_owned).collect();
        let jobs = read_json(&folder.join(JOBS))?;
        Ok(Self { folder, names, jobs })
    }

    /// Writes the ids of the jobs.
    pub fn save(&self) -> Result<()> {
        write_json_durably(&self.folder.join(JOBS), &self.jobs)
    }

    /// Returns the folder, which has scripts, lists and what Slurm says.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Returns each task as job id, index and name of its run.
    pub fn tasks(&self) -> impl Iterator<Item = (String, usize, String)> {
        let tasks = |array: &Array| {
            let names = self.names.iter().skip(array.offset).take(array.len);
            names.enumerate().map(|(index, name)| (array.job.clone(), index, name.clone())).collect::<Vec<_>>()
        };
        self.jobs.arrays.iter().flat_map(tasks)
    }
}

/// For the name of a run, what Slurm had to say of it, and the file that says so.
pub type Notes = BTreeMap<String, (PathBuf, String)>;

/// Returns what Slurm had to say of the runs in their last submissions: that a time limit was reached, memory ran out
/// or a node was lost.
///
/// # Errors
/// The folder of a submission cannot be read.
pub fn notes(sweep: &Sweep) -> Result<Notes> {
    let mut notes = Notes::new();
    for folder in Submission::folders(sweep.out()?)? {
        // The report does without what Slurm said.
        let submission = match Submission::read(folder) {
            Ok(submission) => submission,
            Err(error) => {
                note(format_args!("warning: {error}; the report does not say what became of these jobs"));
                continue;
            }
        };
        for (job, index, name) in submission.tasks() {
            notes.remove(&name);
            let path = submission.folder.join(format!("{job}_{index}.out"));
            if !path.is_file() {
                continue;
            }
            let text = String::from_utf8_lossy(&fs_err::read(&path)?).into_owned();
            if let Some(last) = text.lines().rev().find(|line| !line.trim().is_empty()) {
                notes.insert(name, (path, last.trim().to_owned()));
            }
        }
    }
    Ok(notes)
}
