//! `mkgc completions` and `mkgc man`: what a shell and `man` need to know of the commands.

use std::path::Path;

use anyhow::{Context, Result};
use clap::Command;
use clap_complete::Shell;
use mkgc_harness::console::print;

/// Prints the completion script of a shell.
pub fn completions(mut command: Command, shell: Shell) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, "mkgc", &mut script);
    Ok(print(&String::from_utf8(script)?)?)
}

/// Writes a page for mkgc and one for each of its commands into a folder.
pub fn man(command: Command, out: &Path) -> Result<()> {
    fs_err::create_dir_all(out)?;
    clap_mangen::generate_to(command, out).with_context(|| format!("{}: pages cannot be written", out.display()))
}
