//! The files of a report, by name: what [`super::write`] puts into the folder.

use std::collections::BTreeMap;

use super::board::{Board, Entry};
use super::{frames, html, latex, markdown, plots, scores, table};
use crate::error::Result;
use crate::escape::file_name;

/// The contents of files by their path in the folder, with `/`.
pub type ReportFiles = BTreeMap<String, Vec<u8>>;

/// Makes every file of the report.
///
/// # Errors
/// A table or a plot cannot be made.
pub fn all(boards: &[Board]) -> Result<ReportFiles> {
    let mut files = ReportFiles::new();
    for board in boards {
        tables(board, &mut files)?;
        draw(board, &mut files)?;
    }
    let scores = scores::stacked(boards.iter().map(|board| &board.scores))?;
    files.insert("scores.csv".to_owned(), frames::csv(scores)?);
    files.insert("absent.csv".to_owned(), frames::csv(frames::absent(boards)?)?);
    files.insert("board.json".to_owned(), serde_json::to_vec(boards)?);
    files.insert("report.html".to_owned(), html::page(boards)?.into_bytes());
    files.insert("report.md".to_owned(), markdown::report(boards).into_bytes());
    Ok(files)
}

/// Makes the tables of a board, `BENCHMARK-*.csv` and `BENCHMARK.tex`.
fn tables(board: &Board, files: &mut ReportFiles) -> Result<()> {
    let name = file_name(&board.benchmark);
    let tables = table::all(board);
    for table in tables.iter().filter(|table| !table.columns.is_empty()) {
        files.insert(format!("{name}-{}.csv", table.name), frames::csv(frames::table(table)?)?);
    }
    files.insert(format!("{name}-pairs.csv"), frames::csv(frames::pairs(board)?)?);
    files.insert(format!("{name}-f1_by_class.csv"), frames::csv(frames::classes(board)?)?);
    files.insert(format!("{name}.tex"), latex::tables(board, &tables).into_bytes());
    Ok(())
}

/// Draws the plots of a board: `plots/BENCHMARK-*.svg` has each metric over the tasks, `plots/BENCHMARK/ENTRY-*.svg` those of
/// each entry.
fn draw(board: &Board, files: &mut ReportFiles) -> Result<()> {
    let benchmark = file_name(&board.benchmark);
    for metric in plots::metrics(board) {
        if let Some(svg) = plots::scores(board, metric)? {
            files.insert(format!("plots/{benchmark}-{}.svg", metric.metric.key()), svg.into_bytes());
        }
    }
    let mut add = |name: &str, svg: String| {
        files.insert(format!("plots/{benchmark}/{name}.svg"), svg.into_bytes());
    };
    let ranked = plots::drawn(board).into_iter().map(|entry| &board.entries[entry]);
    for entry in ranked.chain(&board.apart) {
        let name = file_name(&entry.label);
        let curve = |plot: fn(&Board, &Entry) -> Result<Option<String>>| plot(board, entry);
        add(&format!("{name}-matrix"), plots::matrix(board, entry)?);
        add(&format!("{name}-classes"), plots::classes(board, entry)?);
        for (what, svg) in [("training", curve(plots::training)?), ("balance", curve(plots::balance)?)] {
            if let Some(svg) = svg {
                add(&format!("{name}-{what}"), svg);
            }
        }
    }
    Ok(())
}
