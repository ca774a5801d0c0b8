//! Tables of a board's estimates, entry × column: what Markdown, CSV and LaTeX have in common.

use super::board::{Board, Entry, Estimate, MetricInfo};
use crate::metrics::continual::{Entered, Value};
use crate::metrics::formulas;
use crate::metrics::half::{Half, of_half};

/// A column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Heading in Markdown and CSV.
    pub name: String,
    /// Heading in print.
    pub title: String,
    /// Whether more is better.
    pub higher_is_better: bool,
    /// Of a stage, else of the whole run: the metric's key.
    stage: Option<usize>,
    metric: String,
}

impl Column {
    fn stage(metric: &MetricInfo, stage: usize) -> Self {
        let (name, higher_is_better) = (format!("T{}", stage + 1), metric.higher_is_better);
        Self { title: name.clone(), name, higher_is_better, stage: Some(stage), metric: metric.name.clone() }
    }

    fn run(board: &Board, name: &str, metric: &str) -> Self {
        let info = board.metrics.iter().find(|info| info.name == metric);
        let higher_is_better = info.is_none_or(|info| info.higher_is_better);
        let title = info.filter(|_| name == metric).map_or_else(|| name.to_owned(), |info| info.title.clone());
        Self { name: name.to_owned(), title, higher_is_better, stage: None, metric: metric.to_owned() }
    }

    /// The estimate of an entry.
    pub fn of<'a>(&self, entry: &'a Entry) -> Option<&'a Estimate> {
        match self.stage {
            Some(stage) => entry.stages.get(&self.metric)?.get(stage),
            None => entry.summary.get(&self.metric),
        }
    }
}

/// Entry × column.
#[derive(Debug, Clone)]
pub struct Table<'a> {
    /// In file names.
    pub name: String,
    /// For people.
    pub title: String,
    /// Columns with a number for some entry.
    pub columns: Vec<Column>,
    /// The ranked rows.
    pub entries: &'a [Entry],
    /// Rows listed apart.
    pub apart: &'a [Entry],
    /// For each column that holds means, how many classes, tasks or stages entered.
    pub entered: Vec<(String, Entered)>,
    /// Why numbers are missing: column and reason.
    pub notes: Vec<(String, String)>,
}

/// Why some entries are listed apart.
pub const APART: &str = "Generated pictures took the place of missing ones of the corpus here, so these numbers say nothing \
                         of a method that sees the pictures: they are neither ranked nor tested among the others.";

/// Every table of a board, the main one first.
pub fn all(board: &Board) -> Vec<Table<'_>> {
    let of_stages = board.metrics.iter().filter(|metric| metric.per_stage && !metric.name.contains("masked"));
    let mut tables: Vec<Table<'_>> = of_stages.map(|metric| stages(board, metric)).collect();
    tables.retain(|table| !(of_half(&table.name) && table.columns.is_empty()));
    tables.push(stream(board));
    tables
}

/// A metric after each task and on average; with the main one, what was lost.
fn stages<'a>(board: &'a Board, metric: &MetricInfo) -> Table<'a> {
    let mut columns: Vec<Column> = (0..board.tasks.len()).map(|stage| Column::stage(metric, stage)).collect();
    columns.push(Column::run(board, "average", &formulas::average(&metric.name)));
    if metric.name == board.metrics[0].name {
        let lost = ["forgetting_chaudhry18", "bwt_lopezpaz17"];
        columns.extend(lost.map(|name| Column::run(board, name, name)));
    }
    for half in Half::ALL.into_iter().filter(|half| half.metric("micro_f1") == metric.name) {
        let own = ["learning_accuracy_riemer19", "forgetting_chaudhry18"].map(|name| half.metric(name));
        columns.extend(own.map(|name| Column::run(board, &name, &name)));
    }
    Table::new(board, &metric.name, &metric.title, columns)
}

/// What else is known of the whole stream.
fn stream(board: &Board) -> Table<'_> {
    let plain = ["average_lopezpaz17", "learning_accuracy_riemer19", "intransigence_chaudhry18"];
    let masked = ["class_masked", "task_masked"]
        .into_iter()
        .flat_map(|mask| ["micro_f1", "macro_f1", "accuracy"].map(|name| formulas::last(&format!("{mask}_{name}"))));
    let names = plain.map(str::to_owned).into_iter().chain(masked);
    let columns = names.map(|name| Column::run(board, &name, &name)).collect();
    Table::new(board, "stream", "Over the whole stream", columns)
}

impl<'a> Table<'a> {
    fn new(board: &'a Board, name: &str, title: &str, mut columns: Vec<Column>) -> Self {
        let mut notes: Vec<(String, String)> = Vec::new();
        for column in &columns {
            for estimate in board.all().filter_map(|entry| column.of(entry)) {
                if let Value::Undefined(reason) = &estimate.mean {
                    notes.push((column.name.clone(), reason.clone()));
                }
            }
        }
        let number = |entry: &Entry, column: &Column| column.of(entry).is_some_and(|of| of.mean.number().is_some());
        columns.retain(|column| board.all().any(|entry| number(entry, column)));
        notes.sort();
        notes.dedup();
        let entered =
            columns.iter().filter_map(|column| Some((column.name.clone(), entered(board, column)?))).collect();
        let (name, title) = (name.to_owned(), title.to_owned());
        Self { name, title, columns, entries: &board.entries, apart: &board.apart, entered, notes }
    }

    /// Every row, ranked or not.
    pub fn all(&self) -> impl Iterator<Item = &'a Entry> + Clone + use<'a> {
        self.entries.iter().chain(self.apart)
    }

    /// Reasons, each with the columns it is about.
    pub fn reasons(&self) -> Vec<(String, Vec<String>)> {
        let mut reasons: Vec<(String, Vec<String>)> = Vec::new();
        for (column, reason) in &self.notes {
            match reasons.iter_mut().find(|(known, _)| known == reason) {
                Some((_, columns)) => columns.push(column.clone()),
                None => reasons.push((reason.clone(), vec![column.clone()])),
            }
        }
        reasons
    }
}

/// How many terms a column's means are over; the entries with a value have the same tests.
fn entered(board: &Board, column: &Column) -> Option<Entered> {
    board.all().filter_map(|entry| column.of(entry)?.entered).max_by_key(|entered| entered.n)
}
