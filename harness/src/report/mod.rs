//! Comparative reports over run folders. [`load()`] reads the runs, [`boards`] computes a [`board::Board`] for each benchmark,
//! and [`write`] prints the boards as `report.md` and `report.html` for people, as CSV and `board.json` for programs, and as
//! LaTeX and SVG for papers. [`publish()`] adds the runs, for others to read.
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
mod files;
mod frames;
pub mod html;
mod latex;
mod load;
mod markdown;
pub mod plots;
mod publish;
mod scores;
mod settings;
mod significance;
mod split;
mod table;

pub use assemble::boards;
pub use load::{AbsentRun, FinishedRun, Loaded, load};
pub use markdown::short;
pub use publish::publish;
pub use split::split;

use std::collections::BTreeSet;
use std::path::Path;

use board::Board;
use mkgc_builder::files::is_plain_name;

use crate::error::{Error, Result};
use crate::files::write_atomically;
use crate::owned::OwnedFolder;

/// Writes the report into a folder, where it replaces the files of an earlier report and no others, and returns the
/// Markdown text.
///
/// # Errors
/// A benchmark's name would lead out of the folder; the folder holds a file of the same name that is from no report, or
/// cannot be written.
pub fn write(boards: &[Board], out: &Path) -> Result<String> {
    check_names(boards)?;
    let files = files::all(boards)?;
    let names: BTreeSet<String> = files.keys().cloned().collect();
    let folder = OwnedFolder::open(out, "report", &names)?;
    for (name, bytes) in &files {
        write_atomically(&out.join(name), bytes)?;
    }
    folder.keep(&names)?;
    Ok(markdown::report(boards))
}

/// Refuses benchmarks whose names would lead out of a folder.
fn check_names(boards: &[Board]) -> Result<()> {
    let Some(board) = boards.iter().find(|board| !is_plain_name(&board.benchmark)) else { return Ok(()) };
    let remedy = "correct `dataset.name` in the `run.json` of its runs";
    Err(Error::Usage(format!("benchmark `{}`: the name cannot be that of a file; {remedy}", board.benchmark)))
}
