//! Writes the HTML page: one file with all boards that loads nothing from elsewhere, rendered from `page.html`.

use std::collections::{BTreeMap, BTreeSet};

use minijinja::{AutoEscape, Environment, Value, context, escape_formatter};
use serde::Serialize;

use super::board::{Board, Comparison, Entry, MetricInfo, RunCard};
use super::table::APART;
use super::{plots, settings};
use crate::error::Result;
use crate::escape::visible;
use crate::methods::registry;
use crate::metrics::metric::PredictionSet;
use crate::metrics::{MatrixMetric, Metric, StageMetric};
use crate::run::record::RunRecord;

/// Number of curves ticked when the page opens, besides those of the floor and the upper bounds.
const TICKED: usize = 12;

/// Known exactly if the predictions of single streams are stored.
const TEXT_HALF: Metric = Metric::Last(StageMetric::TextHalfMicroF1);

/// Renders the page of all boards.
pub fn page(boards: &[Board]) -> Result<String> {
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    environment.set_formatter(|out, state, value| match value.as_str().filter(|_| !value.is_safe()) {
        Some(text) => escape_formatter(out, state, &Value::from(visible(text).as_ref())),
        None => escape_formatter(out, state, value),
    });
    environment.set_trim_blocks(true);
    environment.set_lstrip_blocks(true);
    environment.add_filter("percent", percent);
    environment.add_filter("decimals", |number: f64, digits: usize| format!("{number:.digits$}"));
    environment.add_filter("start", |hash: String| hash.chars().take(12).collect::<String>());
    environment.add_template("page", include_str!("page.html"))?;
    let boards = boards.iter().enumerate().map(|(at, board)| BoardView::new(at, board)).collect::<Result<Vec<_>>>()?;
    let page = context! {
        boards => boards,
        apart => APART,
        style => include_str!("page.css"),
        script => include_str!("page.js"),
        version => env!("CARGO_PKG_VERSION"),
    };
    Ok(environment.get_template("page")?.render(page)?)
}

/// Prints a share in percent, or `–` if there is none.
fn percent(share: &Value) -> String {
    f64::try_from(share.clone()).map_or_else(
        |_| "–".to_owned(),
        |share| match format!("{:.1}", share * 100.0).as_str() {
            "-0.0" => "0.0".to_owned(),
            text => text.replace('-', "−"),
        },
    )
}

/// A board and what only the page shows of it.
#[derive(Serialize)]
struct BoardView<'a> {
    id: String,
    #[serde(flatten)]
    board: &'a Board,
    rows: Vec<EntryView<'a>>,
    /// Entries listed apart because of stand-in pictures, without a rank.
    others: Vec<EntryView<'a>>,
    /// Metrics that the ranking has columns for, as [`ranked`] chooses them.
    ranked: Vec<&'a MetricInfo>,
    /// Metrics with a value after each task.
    staged: Vec<&'a MetricInfo>,
    /// Metrics of single streams over the whole run; none if no entry has two streams.
    halved: Vec<&'a MetricInfo>,
    /// Plot of each metric with a value after each task, by key.
    scores: BTreeMap<&'static str, String>,
    /// Indices of the entries with plots, in the order of their series.
    drawn: Vec<usize>,
    /// Comparisons between the entries drawn.
    pairs: Vec<&'a Comparison>,
    /// Settings in which all runs that read them agree.
    shared: Vec<Setting>,
}

impl<'a> BoardView<'a> {
    fn new(at: usize, board: &'a Board) -> Result<Self> {
        let drawn = plots::drawn(board);
        let shared = shared_settings(board)?;
        let id = format!("b{}", at + 1);
        let row = |(at, entry): (usize, &'a Entry)| {
            let series = drawn.iter().position(|other| *other == at);
            EntryView::new(board, entry, format!("{id}-e{}", at + 1), series, &shared)
        };
        let other =
            |(at, entry): (usize, &'a Entry)| EntryView::new(board, entry, format!("{id}-a{}", at + 1), None, &shared);
        let mut scores = BTreeMap::new();
        let staged = plots::metrics(board);
        for metric in &staged {
            if let Some(svg) = plots::scores(board, metric)? {
                scores.insert(metric.metric.key(), svg);
            }
        }
        let both = |pair: &&Comparison| drawn.contains(&pair.one) && drawn.contains(&pair.other);
        let rows = board.entries.iter().enumerate().map(row).collect::<Result<Vec<_>>>()?;
        let others = board.apart.iter().enumerate().map(other).collect::<Result<Vec<_>>>()?;
        let halves = rows.iter().chain(&others).any(|row| row.halves);
        let of_halves = |info: &&MetricInfo| halves && !info.per_stage && info.metric.half().is_some();
        Ok(Self {
            id,
            board,
            rows,
            others,
            halved: board.metrics.iter().filter(of_halves).collect(),
            ranked: board.metrics.iter().filter(|info| ranked(info.metric, &staged)).collect(),
            staged,
            scores,
            pairs: board.comparisons.iter().filter(both).collect(),
            drawn,
            shared,
        })
    }
}

/// Tells whether the ranking shows a metric: those of the stored predictions after the last task, the average of the main
/// one, and those that compare tasks.
fn ranked(metric: Metric, staged: &[&MetricInfo]) -> bool {
    match metric {
        Metric::Stage(stage_metric) => {
            stage_metric.predictions() == PredictionSet::Stored && staged.iter().any(|info| info.metric == metric)
        }
        Metric::Last(_) => false,
        Metric::AverageIncremental(stage_metric) => stage_metric == StageMetric::MAIN,
        Metric::Matrix(matrix_metric) => {
            matrix_metric.half().is_none() && matrix_metric != MatrixMetric::AverageOverTasks
        }
    }
}

/// An entry and what only the page shows of it.
#[derive(Serialize)]
struct EntryView<'a> {
    #[serde(flatten)]
    entry: &'a Entry,
    id: String,
    /// The label without the mark of stand-in images.
    name: &'a str,
    stand_in: bool,
    /// Whether the predictions of each stream alone are known.
    halves: bool,
    tied: bool,
    series: Option<usize>,
    ticked: bool,
    pen: Option<plots::Pen>,
    about: Option<Value>,
    /// Minutes that a run took, averaged over the runs.
    minutes: Option<f64>,
    /// Rows stored at the end, averaged over the runs.
    stored: Option<f64>,
    /// For each class, its best F1 before the last task minus its F1 after it.
    lost: Vec<Option<f64>>,
    /// For each run, the settings in which runs differ.
    settings: Vec<Vec<Setting>>,
    matrix_plot: Option<String>,
    classes_plot: Option<String>,
    training_plot: Option<String>,
    balance_plot: Option<String>,
}

impl<'a> EntryView<'a> {
    fn new(board: &Board, entry: &'a Entry, id: String, series: Option<usize>, shared: &[Setting]) -> Result<Self> {
        let name = entry.label.strip_suffix(" (stand-in images)").unwrap_or(&entry.label);
        let drawn = series.is_some() || entry.rank.is_none();
        let plot = |plot: fn(&Board, &Entry) -> Result<String>| drawn.then(|| plot(board, entry)).transpose();
        let own = |run: &RunCard| -> Result<Vec<Setting>> {
            Ok(with_origins(run)?
                .into_iter()
                .filter(|setting| !shared.iter().any(|known| known.key == setting.key))
                .collect())
        };
        let others = board.entries.iter().filter(|other| other.rank == entry.rank);
        let curve = |plot: fn(&Board, &Entry) -> Result<Option<String>>| {
            if drawn { plot(board, entry) } else { Ok(None) }
        };
        Ok(Self {
            entry,
            id,
            halves: entry.summary.get(&TEXT_HALF).is_some_and(|last| last.mean.number().is_some()),
            name,
            stand_in: name.len() < entry.label.len(),
            tied: others.count() > 1,
            series,
            ticked: series.is_some_and(|series| series < TICKED || plots::reference(entry)),
            pen: series.map(plots::pen),
            about: about(&entry.method),
            minutes: mean(entry, RunRecord::minutes),
            stored: mean(entry, |record| record.stored_rows().map(|rows| rows as f64)),
            lost: entry.classes.iter().map(plots::lost).collect(),
            settings: entry.runs.iter().map(own).collect::<Result<_>>()?,
            matrix_plot: plot(plots::matrix)?,
            classes_plot: plot(plots::classes)?,
            training_plot: curve(plots::training)?,
            balance_plot: curve(plots::balance)?,
        })
    }
}

/// Averages a cost over the runs that recorded theirs.
fn mean(entry: &Entry, cost: impl Fn(&RunRecord) -> Option<f64>) -> Option<f64> {
    let costs: Vec<f64> = entry.runs.iter().filter_map(|run| cost(&run.record)).collect();
    (!costs.is_empty()).then(|| costs.iter().sum::<f64>() / costs.len() as f64)
}

/// Describes a method of mkgc; `None` for results from elsewhere.
fn about(method: &str) -> Option<Value> {
    let info = registry::find(method).ok()?;
    Some(
        context! { about => info.about, source => info.source, reads => info.modality(), memory => info.keeps.phrase() },
    )
}

/// A setting of a run and where it came from.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Setting {
    key: String,
    value: String,
    origin: String,
}

/// Returns the settings of a run with their origins. The page shows the seed beside them.
fn with_origins(run: &RunCard) -> Result<Vec<Setting>> {
    let origin = |key: &str| run.record.trained().and_then(|trained| trained.origins.get(key).cloned());
    let setting = |(key, value): (String, serde_json::Value)| {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        Setting { origin: origin(&key).unwrap_or_default(), key, value }
    };
    Ok(settings::settings(&run.record)?.into_iter().map(setting).collect())
}

/// Returns the settings in which all ranked runs of mkgc that read them agree.
fn shared_settings(board: &Board) -> Result<Vec<Setting>> {
    let runs = board.entries.iter().flat_map(|entry| &entry.runs);
    let mut shared: Vec<Setting> = Vec::new();
    let mut differing: BTreeSet<String> = BTreeSet::new();
    for setting in runs.map(with_origins).collect::<Result<Vec<_>>>()?.into_iter().flatten() {
        match shared.iter().find(|known| known.key == setting.key) {
            None => shared.push(setting),
            Some(known) if known.value == setting.value => {}
            Some(_) => drop(differing.insert(setting.key)),
        }
    }
    shared.retain(|setting| !differing.contains(&setting.key));
    Ok(shared)
}
