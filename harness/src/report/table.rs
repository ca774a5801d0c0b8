//! A method × stage table of one metric, mean and standard deviation over seeds.

use mkgc_builder::corpus::TaskKind;

use super::Run;
use crate::metrics::score::{RunResult, StageScores};

/// What a table shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metric {
    /// F1 over all items.
    MicroF1,
    /// Mean F1 of the classes.
    MacroF1,
    /// Share of rows right, `None` included (RE).
    Accuracy,
}

impl Metric {
    /// The tables of a task, main metric first.
    pub fn of(task: TaskKind) -> &'static [Self] {
        match task {
            TaskKind::Re => &[Self::MicroF1, Self::MacroF1, Self::Accuracy],
            TaskKind::Ner => &[Self::MicroF1, Self::MacroF1],
        }
    }

    /// Name in file names.
    pub fn name(self) -> &'static str {
        match self {
            Self::MicroF1 => "micro_f1",
            Self::MacroF1 => "macro_f1",
            Self::Accuracy => "accuracy",
        }
    }

    /// Title for people.
    pub fn title(self, task: TaskKind) -> &'static str {
        match (self, task) {
            (Self::MicroF1, TaskKind::Re) => "Micro-F1 without None",
            (Self::MacroF1, TaskKind::Re) => "Macro-F1 without None",
            (Self::MicroF1, TaskKind::Ner) => "Micro span F1",
            (Self::MacroF1, TaskKind::Ner) => "Macro span F1",
            (Self::Accuracy, _) => "Strict accuracy with None",
        }
    }

    fn get(self, stage: &StageScores) -> Option<f64> {
        match self {
            Self::MicroF1 => Some(stage.micro_f1),
            Self::MacroF1 => Some(stage.macro_f1),
            Self::Accuracy => stage.accuracy,
        }
    }
}

/// The values of a cell, one per seed; empty where the metric is undefined.
#[derive(Debug, Clone, PartialEq)]
pub struct Cell(Vec<f64>);

impl Cell {
    /// Mean over seeds.
    pub fn mean(&self) -> Option<f64> {
        (!self.0.is_empty()).then(|| self.0.iter().sum::<f64>() / self.0.len() as f64)
    }

    /// Sample standard deviation over seeds, from two on.
    pub fn std(&self) -> Option<f64> {
        let mean = self.mean().filter(|_| self.0.len() > 1)?;
        Some((self.0.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (self.0.len() - 1) as f64).sqrt())
    }
}

/// A method's row.
#[derive(Debug, Clone, PartialEq)]
pub struct TableRow {
    /// [`crate::run::record::RunRecord::label`] of its runs.
    pub method: String,
    /// Number of seeds behind each cell.
    pub seeds: usize,
    /// One per column.
    pub cells: Vec<Cell>,
}

/// Method × stage for one metric.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// The metric.
    pub metric: Metric,
    /// RE or NER.
    pub task: TaskKind,
    /// `T1`…`TK`, `average` over stages and, for the main metric, forgetting and backward transfer.
    pub columns: Vec<String>,
    /// Methods, in the order of [`crate::methods::METHODS`].
    pub rows: Vec<TableRow>,
}

const CONTINUAL: [&str; 2] = ["forgetting_chaudhry18", "bwt_lopezpaz17"];

impl Table {
    /// Over runs of one benchmark.
    pub fn new(metric: Metric, runs: &[&Run]) -> Self {
        let first = &runs[0];
        let stages = first.result.stages.len();
        let mut columns: Vec<String> = (1..=stages).map(|stage| format!("T{stage}")).collect();
        columns.push("average".to_owned());
        if metric == Metric::MicroF1 {
            columns.extend(CONTINUAL.map(str::to_owned));
        }
        // In the order of the runs, which is that of methods.
        let mut methods: Vec<(String, Vec<&RunResult>)> = Vec::new();
        for run in runs {
            let label = run.record.label();
            match methods.iter_mut().find(|(known, _)| *known == label) {
                Some((_, results)) => results.push(&run.result),
                None => methods.push((label, vec![&run.result])),
            }
        }
        let rows = methods.iter().map(|(name, results)| row(metric, name, results, stages)).collect();
        Self { metric, task: first.record.dataset.task, columns, rows }
    }
}

fn row(metric: Metric, method: &str, results: &[&RunResult], stages: usize) -> TableRow {
    let stage =
        |stage: usize| Cell(results.iter().filter_map(|result| metric.get(result.stages.get(stage)?)).collect());
    let mut cells: Vec<Cell> = (0..stages).map(stage).collect();
    let average = |result: &&RunResult| -> Option<f64> {
        let values: Option<Vec<f64>> = result.stages.iter().map(|stage| metric.get(stage)).collect();
        values.map(|values| values.iter().sum::<f64>() / values.len() as f64)
    };
    cells.push(Cell(results.iter().filter_map(average).collect()));
    if metric == Metric::MicroF1 {
        let continual = |name: &str| results.iter().filter_map(|result| result.continual.get(name)?.number()).collect();
        cells.extend(CONTINUAL.map(|name| Cell(continual(name))));
    }
    TableRow { method: method.to_owned(), seeds: results.len(), cells }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::Cell;

    #[test]
    fn cells_average_over_seeds() {
        let cell = Cell(vec![0.2, 0.4]);
        assert!((cell.mean().unwrap() - 0.3).abs() < 1e-12);
        assert!((cell.std().unwrap() - 0.02f64.sqrt()).abs() < 1e-12);
        assert_eq!((Cell(vec![]).mean(), Cell(vec![0.5]).std()), (None, None));
    }
}
