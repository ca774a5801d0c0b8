//! What runs are doing, as a table of plain text: which are finished, which go on and how far they are, which have stopped.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rayon::prelude::*;

use crate::console::counted;
use crate::error::Result;
use crate::metrics::score::RunResult;
use crate::metrics::{Metric, StageMetric};
use crate::run::find::find;
use crate::run::hints::{Hints, folder_name, hints};
use crate::run::record::RunRecord;
use crate::run::stop::{Stop, stop};
use crate::run::{RunFolder, lock, log};

/// What a run is doing.
#[derive(Debug, Clone, PartialEq)]
pub enum Doing {
    /// It has a result: micro-F1 after the last task, if it is defined.
    Finished(Option<f64>),
    /// A process works on it.
    Running,
    /// It has no result and no error, and no process works on it.
    Stopped,
    /// It ended with an error, or its files are damaged; the cause.
    Failed(String),
}

/// A row of the table.
#[derive(Debug, Clone)]
pub struct Watched {
    /// The run folder, as given.
    pub folder: PathBuf,
    /// Name of the benchmark; empty where no file of the run says it.
    pub benchmark: String,
    /// The method as reports name it, or the name of the folder where no file says the method.
    pub label: String,
    /// Training seed, if a file of the run says it.
    pub seed: Option<u64>,
    /// What the run is doing.
    pub doing: Doing,
    /// Tasks learned and tasks to learn.
    pub tasks: Option<(usize, usize)>,
    /// The last line of the log, in words, while the run has neither a result nor an error.
    pub place: String,
    /// How long ago the run wrote something.
    pub silent: Option<Duration>,
}

impl Watched {
    /// What distinguishes the run from others in the table.
    fn name(&self) -> (&str, &str, Option<u64>) {
        (&self.benchmark, &self.label, self.seed)
    }

    /// Tells whether the run is worth another look.
    pub fn goes_on(&self) -> bool {
        self.doing == Doing::Running
    }
}

/// Looks at the runs of some folders.
///
/// # Errors
/// A folder cannot be read, or holds no run.
pub fn look(given: &[impl AsRef<Path>], now: SystemTime) -> Result<Vec<Watched>> {
    Ok(find(given)?.par_iter().map(|folder| watched(folder, now)).collect())
}

fn watched(path: &Path, now: SystemTime) -> Watched {
    let folder = RunFolder::new(path);
    let record = match folder.record() {
        Ok(record) => record,
        Err(error) => {
            let Hints { benchmark, label, seed } = hints(&folder);
            return Watched {
                folder: path.to_owned(),
                benchmark: benchmark.unwrap_or_default(),
                label: label.unwrap_or_else(|| folder_name(path)),
                seed,
                doing: Doing::Failed(error.to_string()),
                tasks: None,
                place: String::new(),
                silent: None,
            };
        }
    };
    let silent = silence(&folder, now);
    let doing = doing(&folder, &record);
    let place = if matches!(doing, Doing::Running | Doing::Stopped) { place(&folder) } else { String::new() };
    Watched {
        folder: path.to_owned(),
        benchmark: record.dataset.name.clone(),
        label: record.label(),
        seed: Some(record.train_seed()),
        doing,
        tasks: Some((folder.tasks_learned(record.tasks()), record.tasks())),
        place,
        silent,
    }
}

fn doing(folder: &RunFolder, record: &RunRecord) -> Doing {
    match stop(folder, record) {
        None => {
            let result = RunResult::read(folder).ok();
            let last = result.and_then(|result| Some(result.stages.last()?.get(StageMetric::MAIN).number()));
            Doing::Finished(last.flatten())
        }
        Some(Stop { failed: true, cause, .. }) => Doing::Failed(cause),
        Some(_) => match lock::holder(folder) {
            Ok(Some(_)) => Doing::Running,
            Ok(None) => Doing::Stopped,
            Err(error) => Doing::Failed(error.to_string()),
        },
    }
}

/// Says where in a task the run is.
fn place(folder: &RunFolder) -> String {
    let line = log::read(&folder.metrics()).ok().and_then(|lines| lines.into_iter().next_back());
    line.map_or_else(String::new, |line| {
        format!("step {}, loss {:.4}, {:.1} rows/s", line.step, line.loss, line.samples_per_s)
    })
}

/// Returns how long ago the run wrote to its log, or else its record.
fn silence(folder: &RunFolder, now: SystemTime) -> Option<Duration> {
    let written = [folder.metrics(), folder.dir().join("run.json")];
    let last = written.iter().filter_map(|path| fs_err::metadata(path).ok()?.modified().ok()).max()?;
    Some(now.duration_since(last).unwrap_or_default())
}

/// Prints the table so that a terminal of this many lines and columns shows it: what goes on first, then what has failed or
/// stopped, then what is finished, and the number of runs that have no room.
pub fn screen(mut runs: Vec<Watched>, lines: usize, columns: usize) -> String {
    runs.sort_by_key(|run| match run.doing {
        Doing::Running => 0,
        Doing::Failed(_) => 1,
        Doing::Stopped => 2,
        Doing::Finished(_) => 3,
    });
    let table = table(&runs);
    let all: Vec<&str> = table.lines().collect();
    let room = lines.saturating_sub(1).max(1);
    let shown = if all.len() > room { room - 1 } else { all.len() };
    let cut = |line: &&str| line.chars().take(columns).chain(['\n']).collect::<String>();
    let more = match all.len() - shown {
        0 => String::new(),
        more => format!("… and {}\n", counted(more, "further run")),
    };
    all[..shown].iter().map(cut).collect::<String>() + &more
}

/// Prints the table, a line per run, with a line on top that counts them. Runs that nothing else distinguishes are named with
/// their folders.
pub fn table(runs: &[Watched]) -> String {
    let metric = Metric::RANKING.key();
    let heading = ["benchmark", "method", "seed", "state", "tasks", "written", "last"].map(str::to_owned);
    let mut names: BTreeMap<(&str, &str, Option<u64>), usize> = BTreeMap::new();
    runs.iter().for_each(|run| *names.entry(run.name()).or_default() += 1);
    let row = |run: &Watched| row(run, names[&run.name()] > 1);
    let rows: Vec<[String; 7]> = std::iter::once(heading).chain(runs.iter().map(row)).collect();
    let width = |at: usize| rows.iter().map(|row| row[at].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..7).map(width).collect();
    let line = |row: &[String; 7]| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        format!("{}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    let count = |is: fn(&Doing) -> bool| runs.iter().filter(|run| is(&run.doing)).count();
    let counts = format!(
        "{}: {} finished, {} running, {} stopped, {} failed; `last` is {metric}, a place in a task, or a cause\n\n",
        counted(runs.len(), "run"),
        count(|doing| matches!(doing, Doing::Finished(_))),
        count(|doing| matches!(doing, Doing::Running)),
        count(|doing| matches!(doing, Doing::Stopped)),
        count(|doing| matches!(doing, Doing::Failed(_))),
    );
    counts + &rows.iter().map(line).collect::<String>()
}

fn row(run: &Watched, with_folder: bool) -> [String; 7] {
    let (state, last) = match &run.doing {
        Doing::Finished(score) => {
            ("finished", score.map_or_else(|| "undefined".to_owned(), |score| format!("{:.1} %", score * 100.0)))
        }
        Doing::Running => ("running", run.place.clone()),
        Doing::Stopped => ("stopped", run.place.clone()),
        Doing::Failed(cause) => ("failed", cause.clone()),
    };
    let known = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let cells = [
        run.benchmark.clone(),
        if with_folder { format!("{} ({})", run.label, run.folder.display()) } else { run.label.clone() },
        known(run.seed.map(|seed| seed.to_string())),
        state.to_owned(),
        known(run.tasks.map(|(learned, all)| format!("{learned}/{all}"))),
        known(run.silent.map(ago)),
        last,
    ];
    // Escape codes in a name would reach the terminal.
    cells.map(|cell| cell.chars().map(|c| if c.is_control() { ' ' } else { c }).collect())
}

/// Prints a duration in the largest whole unit.
fn ago(silent: Duration) -> String {
    match silent.as_secs() {
        seconds @ 0..120 => format!("{seconds} s ago"),
        seconds @ 120..7200 => format!("{} min ago", seconds / 60),
        seconds @ 7200..172_800 => format!("{} h ago", seconds / 3600),
        seconds => format!("{} days ago", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_screen_holds_what_goes_on_and_says_what_it_leaves_out() {
        let run = |number: u64, doing: Doing| Watched {
            folder: format!("runs/{number}").into(),
            benchmark: "b".to_owned(),
            label: "emr".to_owned(),
            seed: Some(number / 2),
            doing,
            tasks: Some((1, 2)),
            place: String::new(),
            silent: None,
        };
        let mut runs: Vec<Watched> = (0..6).map(|number| run(number, Doing::Finished(None))).collect();
        runs.push(run(6, Doing::Failed("x".repeat(300))));
        runs.push(run(8, Doing::Running));
        let shown = screen(runs.clone(), 8, 60);
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!((lines.len(), lines[6]), (7, "… and 5 further runs"), "{shown}");
        assert!(
            lines[3].contains("running") && lines[4].contains("failed") && lines[5].contains("emr (runs/0)"),
            "{shown}"
        );
        assert!(lines.iter().all(|line| line.chars().count() <= 60));
        assert_eq!(screen(runs, 100, 600).lines().count(), 11);
    }
}
