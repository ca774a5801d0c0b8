//! The batch scripts of a submission.

use std::path::{Path, PathBuf};

use super::submission::LIST;
use crate::error::{Error, Result};
use crate::files::write_atomically;
use crate::sweep::matrix::Sweep;

/// The script of a run.
const ARRAY: &str = include_str!("array.sh");

/// The script of the report.
const MERGE: &str = include_str!("merge.sh");

/// The paths of a submission's scripts, and the name of its jobs.
pub(super) struct Scripts {
    folder: PathBuf,
    /// What `squeue` shows of the jobs: the name of the sweep's folder.
    pub name: String,
}

impl Scripts {
    /// Names the scripts in a folder of a submission.
    pub fn named(folder: &Path, sweep: &Sweep) -> Result<Self> {
        let out = std::path::absolute(sweep.out()?)?;
        let name = out.file_name().map_or_else(|| "sweep".to_owned(), |name| name.to_string_lossy().into_owned());
        Ok(Self { folder: std::path::absolute(folder)?, name: format!("mkgc-{name}") })
    }

    /// Writes the scripts. `command` is the program with the arguments that name the sweep.
    pub fn write(folder: &Path, sweep: &Sweep, command: &[String]) -> Result<Self> {
        let scripts = Self::named(folder, sweep)?;
        let logs = std::path::absolute(sweep.logs()?)?;
        let values = [
            ("{{folder}}", quoted(&[text(&std::env::current_dir()?)?])?),
            ("{{list}}", quoted(&[text(&scripts.folder.join(LIST))?])?),
            ("{{logs}}", quoted(&[text(&logs)?])?),
            ("{{notes}}", quoted(&[text(&scripts.folder)?])?),
            ("{{mkgc}}", quoted(command)?),
        ];
        for (path, template) in [(scripts.array(), ARRAY), (scripts.merge(), MERGE)] {
            let filled = values.iter().fold(template.to_owned(), |text, (key, value)| text.replace(key, value));
            write_atomically(Path::new(&path), filled.as_bytes())?;
        }
        Ok(scripts)
    }

    /// Returns the path of the script that makes a run.
    pub fn array(&self) -> String {
        self.folder.join("array.sh").to_string_lossy().into_owned()
    }

    /// Returns the path of the script that writes the report.
    pub fn merge(&self) -> String {
        self.folder.join("merge.sh").to_string_lossy().into_owned()
    }

    /// Returns the path of what the report's job prints.
    pub fn merge_log(&self) -> String {
        pattern(&self.folder).join("merge.log").to_string_lossy().into_owned()
    }

    /// Returns the path of what Slurm has to say of a task, with sbatch's signs for job and index.
    pub fn notes(&self) -> String {
        pattern(&self.folder).join("%A_%a.out").to_string_lossy().into_owned()
    }
}

/// Returns a path in which sbatch replaces nothing: it takes `%%` for a `%`.
fn pattern(path: &Path) -> PathBuf {
    PathBuf::from(path.to_string_lossy().replace('%', "%%"))
}

fn text(path: &Path) -> Result<String> {
    let odd = || Error::Usage(format!("{}: Slurm's scripts need a path in UTF-8", path.display()));
    path.to_str().map(str::to_owned).ok_or_else(odd)
}

/// Joins arguments to a line that a shell takes apart into the same arguments.
pub(super) fn quoted(arguments: &[String]) -> Result<String> {
    shlex::try_join(arguments.iter().map(String::as_str))
        .map_err(|_| Error::Usage("an argument holds a NUL character, which no command can be given".to_owned()))
}
