//! Shows a sweep while it runs: a table that is drawn anew on a terminal, lines about what happens elsewhere.

use std::time::{Duration, Instant};

use console::Term;

use super::table::{self, Row};
use crate::console::note;

/// Time between two drawings of the table.
const EVERY: Duration = Duration::from_secs(1);

/// Where a sweep is shown.
pub(super) struct View {
    term: Term,
    jobs: usize,
    drawn: usize,
    last: Option<Instant>,
}

impl View {
    /// Shows a sweep of `jobs` runs at a time on stderr.
    pub fn new(jobs: usize) -> Self {
        Self { term: Term::buffered_stderr(), jobs, drawn: 0, last: None }
    }

    /// Says what has happened to a run, where there is no table that shows it.
    pub fn tell(&self, text: &str) {
        if !self.term.is_term() {
            note(text);
        }
    }

    /// Returns whether a second has passed since the table was drawn.
    pub fn is_due(&self) -> bool {
        self.last.is_none_or(|last| last.elapsed() >= EVERY)
    }

    /// Draws the table, on a terminal, over the one before. A terminal that cannot be written to must not stop a sweep.
    pub fn draw(&mut self, rows: &[Row], note: Option<&str>) {
        self.last = Some(Instant::now());
        if !self.term.is_term() {
            return;
        }
        let (height, width) = self.term.size();
        let note = note.map_or_else(String::new, |note| format!("; {note}"));
        let summary = format!("{}{note}", table::summary(rows, self.jobs));
        // One line stays free for the cursor.
        let lines = table::live(rows, &summary, usize::from(height).saturating_sub(1), width.into());
        self.term.clear_last_lines(self.drawn).ok();
        for line in &lines {
            self.term.write_line(line).ok();
        }
        self.term.flush().ok();
        self.drawn = lines.len();
    }
}
