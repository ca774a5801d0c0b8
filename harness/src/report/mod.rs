//! Comparative tables over finished runs: `report.md` for people, one CSV per benchmark and metric for programs.

pub mod board;
pub mod html;
mod markdown;
pub mod plots;
mod table;

pub use table::{Cell, Metric, Table};

use std::collections::BTreeMap;
use std::path::Path;

use polars::prelude::{Column, CsvWriter, DataFrame, SerWriter};

use crate::error::{Error, Result};
use crate::methods;
use crate::metrics::score::{RunResult, score_run};
use crate::run::record::RunRecord;
use crate::run::{RunFolder, write_atomically};

/// A finished run.
pub struct Run {
    /// Its settings.
    pub record: RunRecord,
    /// Its metrics, derived afresh from its predictions.
    pub result: RunResult,
}

/// Reads run folders and refuses unfinished ones.
pub fn load(folders: &[impl AsRef<Path>]) -> Result<Vec<Run>> {
    let run = |folder: &_| -> Result<Run> {
        let folder = RunFolder::new(AsRef::<Path>::as_ref(folder));
        let record = folder.record()?;
        if !folder.result().exists() {
            return Err(folder.error("is not finished (no result.json); go on with `mkgc train` on the same folder"));
        }
        Ok(Run { record, result: score_run(&folder)? })
    };
    folders.iter().map(run).collect()
}

/// Runs by benchmark, in the order of methods and seeds; one board never mixes two versions of the data.
fn by_benchmark(runs: &[Run]) -> Result<BTreeMap<&str, Vec<&Run>>> {
    let mut boards: BTreeMap<&str, Vec<&Run>> = BTreeMap::new();
    for run in runs {
        let board = boards.entry(&run.result.benchmark).or_default();
        if let Some(other) = board.iter().find(|other| other.result.fingerprint != run.result.fingerprint) {
            let (name, one, two) = (&run.result.benchmark, &other.result.fingerprint, &run.result.fingerprint);
            let reason =
                format!("runs of {name} used different data (fingerprints {one} and {two}); report them apart");
            return Err(Error::Usage(reason));
        }
        board.push(run);
    }
    for board in boards.values_mut() {
        // Variants of a method stay in the order given.
        board.sort_by_key(|run| methods::place(&run.record.method));
    }
    Ok(boards)
}

/// Writes the report and returns the Markdown text.
pub fn write(runs: &[Run], out: &Path) -> Result<String> {
    if runs.is_empty() {
        return Err(Error::Usage("no runs given; name one or more folders that `mkgc train --out` wrote".to_owned()));
    }
    let mut text = String::from("# Comparative results\n");
    for (name, board) in by_benchmark(runs)? {
        text += &markdown::heading(name, &board);
        for metric in Metric::of(board[0].record.dataset.task) {
            let table = Table::new(*metric, &board);
            write_atomically(&out.join(format!("{name}-{}.csv", metric.name())), &csv(&table)?)?;
            text += &markdown::table(&table);
        }
        text += &markdown::classes(&board);
        text += &markdown::settings(&board);
    }
    write_atomically(&out.join("report.md"), text.as_bytes())?;
    Ok(text)
}

fn csv(table: &Table) -> Result<Vec<u8>> {
    let methods: Vec<&str> = table.rows.iter().map(|row| row.method.as_str()).collect();
    let seeds: Vec<u32> = table.rows.iter().map(|row| row.seeds as u32).collect();
    let mut columns = vec![Column::new("method".into(), methods), Column::new("seeds".into(), seeds)];
    for (index, name) in table.columns.iter().enumerate() {
        let values =
            |of: fn(&Cell) -> Option<f64>| table.rows.iter().map(|row| of(&row.cells[index])).collect::<Vec<_>>();
        columns.push(Column::new(name.as_str().into(), values(Cell::mean)));
        if table.rows.iter().any(|row| row.seeds > 1) {
            columns.push(Column::new(format!("{name}_std").into(), values(Cell::std)));
        }
    }
    let mut frame = DataFrame::new(table.rows.len(), columns)?;
    let mut bytes = Vec::new();
    CsvWriter::new(&mut bytes).with_float_precision(Some(6)).finish(&mut frame)?;
    Ok(bytes)
}
