//! Comparative reports over run folders. [`load()`] reads the runs, [`boards`] computes a [`board::Board`] for each benchmark,
//! and [`write`] prints the boards as `report.md` and `report.html` for people, as CSV and `board.json` for programs, and as
//! LaTeX and SVG for papers.
//!
//! ```no_run
//! use mkgc_harness::report;
//!
//! for board in report::boards(report::load(&["runs"])?)? {
//!     for entry in &board.entries {
//!         println!("{}: rank {:?}, {:?}", entry.label, entry.rank, entry.ranking().mean);
//!     }
//! }
//! # Ok::<(), mkgc_harness::error::Error>(())
//! ```

mod agree;
mod assemble;
pub mod board;
mod bounds;
mod frames;
pub mod html;
mod latex;
mod load;
mod markdown;
pub mod plots;
mod scores;
mod significance;
mod table;

pub use assemble::boards;
pub use load::{FinishedRun, Loaded, load};
pub use markdown::short;

use std::path::Path;

use board::Board;
use mkgc_builder::files::is_plain_name;

use crate::error::{Error, Result};
use crate::files::write_atomically;

/// Writes the report into a folder and returns the Markdown text.
///
/// # Errors
/// A benchmark's name would lead out of the folder; the folder cannot be written.
pub fn write(boards: &[Board], out: &Path) -> Result<String> {
    if let Some(board) = boards.iter().find(|board| !is_plain_name(&board.benchmark)) {
        let remedy = "correct `dataset.name` in the `run.json` of its runs";
        return Err(Error::Usage(format!(
            "benchmark `{}`: the name cannot be that of a file; {remedy}",
            board.benchmark
        )));
    }
    for board in boards {
        let file = |name: &str| out.join(format!("{}{name}", board.benchmark));
        let tables = table::all(board);
        for table in tables.iter().filter(|table| !table.columns.is_empty()) {
            write_atomically(&file(&format!("-{}.csv", table.name)), &frames::csv(frames::table(table)?)?)?;
        }
        write_atomically(&file("-pairs.csv"), &frames::csv(frames::pairs(board)?)?)?;
        write_atomically(&file("-f1_by_class.csv"), &frames::csv(frames::classes(board)?)?)?;
        write_atomically(&file(".tex"), latex::tables(board, &tables).as_bytes())?;
    }
    write_atomically(
        &out.join("scores.csv"),
        &frames::csv(scores::stacked(boards.iter().map(|board| &board.scores))?)?,
    )?;
    write_atomically(&out.join("board.json"), &serde_json::to_vec(boards)?)?;
    write_atomically(&out.join("report.html"), html::page(boards)?.as_bytes())?;
    for board in boards {
        draw(board, &out.join("plots"))?;
    }
    let text = markdown::report(boards);
    write_atomically(&out.join("report.md"), text.as_bytes())?;
    Ok(text)
}

/// Draws the plots of a board, `plots/BENCHMARK-*.svg`: each metric over the tasks, and those of each entry.
fn draw(board: &Board, out: &Path) -> Result<()> {
    let write = |name: &str, svg: String| -> Result<()> {
        let name = name.replace(|c: char| !c.is_ascii_alphanumeric() && !"-_.".contains(c), "_");
        Ok(write_atomically(&out.join(format!("{}-{name}.svg", board.benchmark)), svg.as_bytes())?)
    };
    for metric in plots::metrics(board) {
        if let Some(svg) = plots::scores(board, metric)? {
            write(metric.metric.key(), svg)?;
        }
    }
    let ranked = plots::drawn(board).into_iter().map(|entry| &board.entries[entry]);
    for entry in ranked.chain(&board.apart) {
        write(&format!("{}-matrix", entry.label), plots::matrix(board, entry)?)?;
        write(&format!("{}-classes", entry.label), plots::classes(board, entry)?)?;
        if let Some(svg) = plots::training(board, entry)? {
            write(&format!("{}-training", entry.label), svg)?;
        }
        if let Some(svg) = plots::balance(board, entry)? {
            write(&format!("{}-balance", entry.label), svg)?;
        }
    }
    Ok(())
}
