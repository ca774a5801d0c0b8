//! The runs of a sweep as lines of text: the live table, `--status`, and the summary of both.

use std::fmt::Write;
use std::time::{Duration, SystemTime};

use super::matrix::Sweep;
use super::state::{Observed, RunState, time_left};
use crate::error::Result;

/// Lines of the live table besides those of runs: the summary, the header, and the runs that have no line.
const OTHER_LINES: usize = 3;

/// A run in a table.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub number: usize,
    /// Folder of the run below `runs/`.
    pub name: String,
    pub observed: Observed,
    /// Time that is left, if it can be told.
    pub left: Option<Duration>,
}

impl Row {
    fn cause(&self) -> &str {
        match &self.observed.state {
            RunState::Interrupted(cause) | RunState::Failed(cause) => cause,
            RunState::Waiting | RunState::Running | RunState::Finished => "",
        }
    }

    /// Returns the place of the row in a table that has no room for all of them: what happens now, then what went
    /// wrong.
    fn rank(&self) -> usize {
        match self.observed.state {
            RunState::Running => 0,
            RunState::Failed(_) => 1,
            RunState::Interrupted(_) => 2,
            RunState::Waiting => 3,
            RunState::Finished => 4,
        }
    }

    fn line(&self) -> String {
        let tasks = format!("{}/{}", self.observed.learned, self.observed.tasks);
        let left = self.left.map_or_else(String::new, duration);
        let line =
            format!("{:>5}  {:<11}  {tasks:>7}  {left:<12}  {}", self.number, self.observed.state.word(), self.name);
        if self.cause().is_empty() { line } else { format!("{line}: {}", self.cause().replace(char::is_control, " ")) }
    }
}

const HEADER: &str = "  run  state          tasks  time left     folder";

/// Returns the live table: at most `height` lines of at most `width` characters. What happens now comes first if there
/// is no room for everything.
pub(super) fn live(rows: &[Row], summary: &str, height: usize, width: usize) -> Vec<String> {
    let room = height.saturating_sub(OTHER_LINES).max(1);
    let mut shown: Vec<&Row> = rows.iter().collect();
    shown.sort_by_key(|row| row.rank());
    let hidden = shown.split_off(room.min(shown.len())).len();
    shown.sort_by_key(|row| row.number);
    let mut lines = vec![summary.to_owned(), HEADER.to_owned()];
    lines.extend(shown.iter().map(|row| row.line()));
    if hidden > 0 {
        lines.push(format!("       and {hidden} more"));
    }
    lines.iter().map(|line| console::truncate_str(line, width, "…").into_owned()).collect()
}

/// Counts the runs by state, and says how long all of them still take with `jobs` at a time, or as many as run now if
/// these are more, if that can be told.
pub(super) fn summary(rows: &[Row], jobs: usize) -> String {
    let count = |state: &str| rows.iter().filter(|row| row.observed.state.word() == state).count();
    let mut text = format!("{} of {} runs finished", count("finished"), rows.len());
    for part in unfinished(count) {
        write!(text, ", {part}").ok();
    }
    let open = || rows.iter().filter(|row| matches!(row.observed.state, RunState::Running | RunState::Waiting));
    let left: Option<Vec<Duration>> = open().map(|row| row.left).collect();
    if let Some(left) = left.filter(|left| !left.is_empty()) {
        let longest = left.iter().max().copied().unwrap_or_default();
        let shared = left.iter().sum::<Duration>() / u32::try_from(jobs.max(count("running"))).unwrap_or(1).max(1);
        write!(text, "; about {} left", duration(shared.max(longest))).ok();
    }
    text
}

/// Returns `2 running`, `1 failed` and so on for the states besides `finished` that runs are in, of which `count` says how
/// many there are.
pub(super) fn unfinished(count: impl Fn(&str) -> usize) -> impl Iterator<Item = String> {
    let states = ["running", "waiting", "interrupted", "failed"];
    states
        .into_iter()
        .map(move |state| (count(state), state))
        .filter(|(n, _)| *n > 0)
        .map(|(n, state)| format!("{n} {state}"))
}

/// Formats a time in at most two units.
pub(super) fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..86400 => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / 86400, seconds / 3600 % 24),
    }
}

/// Lists every run of a sweep as its folder shows it, with the path of its log where something went wrong.
///
/// # Errors
/// There is no folder for the sweep.
pub fn status(sweep: &Sweep) -> Result<String> {
    let rows = rows(sweep)?;
    let mut text = format!("{HEADER}\n");
    for (row, run) in rows.iter().zip(&sweep.runs) {
        writeln!(text, "{}", row.line()).ok();
        let log = sweep.log(run)?;
        if !row.cause().is_empty() && log.exists() {
            writeln!(text, "       see {}", log.display()).ok();
        }
    }
    writeln!(text, "{}", summary(&rows, 1)).ok();
    Ok(text)
}

/// Reads the state of every run from its folder.
pub(super) fn rows(sweep: &Sweep) -> Result<Vec<Row>> {
    let row = |run: &super::PlannedRun| {
        let observed = sweep.observe(run)?;
        let running = observed.state == RunState::Running;
        let folder = sweep.folder(run)?;
        let left = running.then(|| time_left(&folder, &observed, SystemTime::now())).flatten();
        Ok(Row { number: run.number, name: run.name.clone(), observed, left })
    };
    sweep.runs.iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(number: usize, state: RunState, left: Option<u64>) -> Row {
        let observed = Observed { state, learned: 1, tasks: 4, seconds: None };
        Row { number, name: format!("small/emr-seed{number}"), observed, left: left.map(Duration::from_secs) }
    }

    fn numbers(lines: &[String]) -> Vec<usize> {
        lines.iter().filter_map(|line| line.split_whitespace().next()?.parse().ok()).collect()
    }

    #[test]
    fn a_table_without_room_shows_what_happens_first() {
        let mut rows: Vec<Row> = (0..9).map(|number| row(number, RunState::Finished, None)).collect();
        rows[3].observed.state = RunState::Failed("in task 2: the loss\nbecame\u{1b}NaN".to_owned());
        rows[7].observed.state = RunState::Running;
        rows[8].observed.state = RunState::Waiting;
        let lines = live(&rows, "summary", 6, 200);
        assert_eq!(lines.len(), 6);
        assert_eq!((lines[0].as_str(), numbers(&lines)), ("summary", vec![3, 7, 8]));
        assert!(
            lines[2].ends_with("failed           1/4                small/emr-seed3: in task 2: the loss became NaN"),
            "{}",
            lines[2]
        );
        assert_eq!(lines[5].trim(), "and 6 more");
        let narrow = live(&rows, "summary", 100, 20);
        assert!(narrow.iter().all(|line| line.chars().count() <= 20), "{narrow:?}");
        assert_eq!(numbers(&narrow), (0..9).collect::<Vec<_>>());
    }

    #[test]
    fn a_summary_shares_the_time_left_among_the_jobs() {
        let rows = [
            row(0, RunState::Finished, None),
            row(1, RunState::Running, Some(60)),
            row(2, RunState::Waiting, Some(180)),
        ];
        assert_eq!(summary(&rows, 2), "1 of 3 runs finished, 1 running, 1 waiting; about 3 min left");
        assert_eq!(summary(&rows, 1), "1 of 3 runs finished, 1 running, 1 waiting; about 4 min left");
        let together = [row(0, RunState::Running, Some(60)), row(1, RunState::Running, Some(120))];
        assert_eq!(
            summary(&together, 1),
            "0 of 2 runs finished, 2 running; about 2 min left",
            "what runs now ends side by side"
        );
        let unknown = [row(0, RunState::Running, Some(60)), row(1, RunState::Waiting, None)];
        assert_eq!(summary(&unknown, 1), "0 of 2 runs finished, 1 running, 1 waiting");
        assert_eq!(summary(&rows[..1], 1), "1 of 1 runs finished");
    }

    #[test]
    fn times_have_two_units_at_most() {
        let shown = |seconds| duration(Duration::from_secs(seconds));
        assert_eq!([shown(59), shown(61), shown(3600 * 5 + 120)], ["59 s", "1 min", "5 h 2 min"]);
        assert_eq!(shown(86400 * 2 + 3600), "2 d 1 h");
    }
}
