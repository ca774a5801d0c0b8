//! Tables of a board, entry × column: the content that Markdown, CSV and LaTeX share.

use std::collections::BTreeSet;

use super::board::{Board, Entry, Estimate, MetricInfo};
use crate::metrics::half::Half;
use crate::metrics::value::{Entered, Value};
use crate::metrics::{MatrixMetric, Metric, StageMetric};

/// A column of a table: one metric, after one task or over the whole run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableColumn {
    /// Heading in Markdown and CSV.
    pub name: String,
    /// Heading in LaTeX, which breaks lines at commas.
    pub title: String,
    /// Whether a higher value is better, by which LaTeX marks the best of the column.
    pub higher_is_better: bool,
    metric: Metric,
    /// 0-based task after which the metric is shown, if it has a value after each.
    stage: Option<usize>,
}

impl TableColumn {
    /// Shows a metric after each of the first `tasks` tasks.
    fn after_tasks(metric: &MetricInfo, tasks: usize) -> impl Iterator<Item = Self> {
        (0..tasks).map(move |stage| Self {
            name: format!("T{}", stage + 1),
            title: format!("T{}", stage + 1),
            higher_is_better: metric.higher_is_better,
            metric: metric.metric,
            stage: Some(stage),
        })
    }

    /// Shows a metric of the whole run under its title.
    fn whole(board: &Board, metric: Metric) -> Self {
        Self {
            name: metric.key().to_owned(),
            title: metric.title(board.task),
            higher_is_better: metric.higher_is_better(),
            metric,
            stage: None,
        }
    }

    /// Returns the estimate of an entry.
    pub fn estimate<'a>(&self, entry: &'a Entry) -> Option<&'a Estimate> {
        match self.stage {
            Some(stage) => entry.stages.get(&self.metric)?.get(stage),
            None => entry.summary.get(&self.metric),
        }
    }

    /// Returns the mean of an entry, if it is defined.
    pub fn mean(&self, entry: &Entry) -> Option<f64> {
        self.estimate(entry)?.mean.number()
    }
}

/// A table of a board, with a row for each entry and a column for each metric or task.
#[derive(Debug, Clone)]
pub struct Table<'a> {
    /// Name of the table in names of files and labels of LaTeX.
    pub name: &'static str,
    /// Title of the table, for people.
    pub title: String,
    /// Columns with a number for some entry.
    pub columns: Vec<TableColumn>,
    /// The ranked entries of the board, best first.
    pub entries: &'a [Entry],
    /// The entries listed apart because of stand-in pictures, see [`APART`].
    pub apart: &'a [Entry],
    /// For each column of means, how many classes, tasks or stages entered.
    pub entered: Vec<(String, Entered)>,
    /// Why numbers are missing: each reason with the columns it is about, in the order of the columns' names.
    pub reasons: Vec<(String, Vec<String>)>,
    /// Whether the table is about one half of a network of two streams, which other networks do not have.
    of_half: bool,
}

/// Why some entries are listed apart.
pub const APART: &str = "Generated pictures took the place of missing ones of the corpus here, so these numbers say nothing \
                         of a method that sees the pictures: they are neither ranked nor tested among the others.";

/// Metrics of the matrix beside the main metric; the other ones are in the table of the whole stream.
const BESIDE_MAIN: [MatrixMetric; 2] = [MatrixMetric::Forgetting, MatrixMetric::BackwardTransfer];

/// Returns every table of a board, the main one first.
pub fn all(board: &Board) -> Vec<Table<'_>> {
    let mut tables: Vec<Table<'_>> = Vec::new();
    for info in &board.metrics {
        if let Metric::Stage(metric) = info.metric
            && !metric.masked()
        {
            let table = over_tasks(board, info, metric);
            if metric.half().is_none() || table.all().any(|entry| table.shows(entry)) {
                tables.push(table);
            }
        }
    }
    tables.push(whole_stream(board));
    tables
}

/// Shows a metric after each task and on average; beside the main metric and those of the halves, what was learned and lost.
fn over_tasks<'a>(board: &'a Board, info: &MetricInfo, metric: StageMetric) -> Table<'a> {
    let mut columns: Vec<TableColumn> = TableColumn::after_tasks(info, board.tasks.len()).collect();
    let average = TableColumn::whole(board, Metric::AverageIncremental(metric));
    columns.push(TableColumn { name: "average".to_owned(), title: "average".to_owned(), ..average });
    let beside: Vec<MatrixMetric> = match metric.half() {
        Some(half) => of_matrix(Some(half)).collect(),
        None if metric == StageMetric::MAIN => BESIDE_MAIN.to_vec(),
        None => Vec::new(),
    };
    columns.extend(beside.into_iter().map(|metric| TableColumn::whole(board, Metric::Matrix(metric))));
    Table::new(board, metric.key(), info.title.clone(), columns, metric.half().is_some())
}

/// Shows the metrics of the whole stream of tasks that no other table has.
fn whole_stream(board: &Board) -> Table<'_> {
    let matrix = of_matrix(None).filter(|metric| !BESIDE_MAIN.contains(metric)).map(Metric::Matrix);
    let masked = StageMetric::ALL.iter().copied().filter(|metric| metric.masked()).map(Metric::Last);
    let columns = matrix.chain(masked).map(|metric| TableColumn::whole(board, metric)).collect();
    Table::new(board, "stream", "Over the whole stream".to_owned(), columns, false)
}

/// Returns the metrics of the matrix of one half, or of the whole network.
fn of_matrix(half: Option<Half>) -> impl Iterator<Item = MatrixMetric> {
    MatrixMetric::ALL.iter().copied().filter(move |metric| metric.half() == half)
}

impl<'a> Table<'a> {
    fn new(board: &'a Board, name: &'static str, title: String, mut columns: Vec<TableColumn>, of_half: bool) -> Self {
        let shown = board.all().filter(|entry| shows(of_half, &columns, entry));
        let reasons = reasons(shown, &columns);
        columns.retain(|column| board.all().any(|entry| column.mean(entry).is_some()));
        let entered =
            columns.iter().filter_map(|column| Some((column.name.clone(), entered(board, column)?))).collect();
        Self { name, title, columns, entries: &board.entries, apart: &board.apart, entered, reasons, of_half }
    }

    /// Returns whether people see a row for an entry. A table about a half leaves out the networks that have no halves.
    pub fn shows(&self, entry: &Entry) -> bool {
        shows(self.of_half, &self.columns, entry)
    }

    /// Returns every row, the ranked ones first.
    pub fn all(&self) -> impl Iterator<Item = &'a Entry> + Clone + use<'a> {
        self.entries.iter().chain(self.apart)
    }
}

fn shows(of_half: bool, columns: &[TableColumn], entry: &Entry) -> bool {
    !of_half || columns.iter().any(|column| column.mean(entry).is_some())
}

/// Collects why means of some entries are undefined, each reason with the names of its columns.
fn reasons<'a>(
    entries: impl Iterator<Item = &'a Entry> + Clone,
    columns: &[TableColumn],
) -> Vec<(String, Vec<String>)> {
    let mut noted: BTreeSet<(&str, &str)> = BTreeSet::new();
    for column in columns {
        for estimate in entries.clone().filter_map(|entry| column.estimate(entry)) {
            if let Value::Undefined(reason) = &estimate.mean {
                noted.insert((&column.name, reason));
            }
        }
    }
    let mut reasons: Vec<(String, Vec<String>)> = Vec::new();
    for (column, reason) in noted {
        match reasons.iter_mut().find(|(known, _)| known == reason) {
            Some((_, columns)) => columns.push(column.to_owned()),
            None => reasons.push((reason.to_owned(), vec![column.to_owned()])),
        }
    }
    reasons
}

/// Returns how many terms the means of a column are over. Entries with a value have the same tests.
fn entered(board: &Board, column: &TableColumn) -> Option<Entered> {
    board.all().filter_map(|entry| column.estimate(entry)?.entered).max_by_key(|entered| entered.n)
}
