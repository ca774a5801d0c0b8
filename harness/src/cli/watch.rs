//! `mkgc watch`: a table of runs, renewed on a terminal.

use std::io::{IsTerminal, stdout};
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, SystemTime};

use anyhow::Result;
use clap::Args;
use mkgc_harness::console::print;
use mkgc_harness::watch::{self, Watched};

#[derive(Args)]
pub struct WatchArgs {
    /// Run folders, or folders that contain some. Runs that begin later appear, too.
    #[arg(required = true)]
    runs: Vec<PathBuf>,
    /// Seconds between two looks at the run folders.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    every: u64,
    /// Print the table once and exit, as happens when stdout is not a terminal.
    #[arg(long)]
    once: bool,
}

/// Clears the terminal and begins at its top.
const CLEAR: &str = "\x1b[2J\x1b[H";

/// Returns the lines and columns of the terminal, if it says so.
#[cfg(unix)]
fn size() -> Option<(usize, usize)> {
    let size = rustix::termios::tcgetwinsize(stdout()).ok()?;
    (size.ws_row > 0 && size.ws_col > 0).then(|| (size.ws_row.into(), size.ws_col.into()))
}

#[cfg(not(unix))]
fn size() -> Option<(usize, usize)> {
    None
}

/// Prints the table; on a terminal again and again, until no run is going on or somebody presses Ctrl-C.
pub fn watch(args: &WatchArgs) -> Result<()> {
    let live = !args.once && stdout().is_terminal();
    loop {
        let runs = watch::look(&args.runs, SystemTime::now())?;
        let goes_on = runs.iter().any(Watched::goes_on);
        // What is left on the terminal at the end is whole.
        match size().filter(|_| live && goes_on) {
            Some((lines, columns)) => print(&format!("{CLEAR}{}", watch::screen(runs, lines, columns)))?,
            None => print(&format!("{}{}", if live { CLEAR } else { "" }, watch::table(&runs)))?,
        }
        if !live || !goes_on {
            return Ok(());
        }
        sleep(Duration::from_secs(args.every));
    }
}
