//! Comparative reports over run folders: a [`board::Board`] for each benchmark, computed once ([`load()`], [`boards`]),
//! written as `report.md` for people, CSV and `board.json` for programs, LaTeX for papers ([`write`]).

mod agree;
mod assemble;
pub mod board;
mod frames;
mod latex;
mod load;
mod markdown;
mod significance;
mod table;

pub use assemble::boards;
pub use load::{Loaded, Run, load};
pub use markdown::short;

use std::path::Path;

use board::Board;

use crate::error::Result;
use crate::run::write_atomically;

/// Writes the report and returns the Markdown text.
pub fn write(boards: &[Board], out: &Path) -> Result<String> {
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
    write_atomically(&out.join("scores.csv"), &frames::csv(frames::scores(boards)?)?)?;
    write_atomically(&out.join("board.json"), &serde_json::to_vec(boards)?)?;
    let text = markdown::report(boards);
    write_atomically(&out.join("report.md"), text.as_bytes())?;
    Ok(text)
}
