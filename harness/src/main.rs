//! The `mkgc` command. stdout is data, stderr is progress; exit codes: 0 fine, 1 verification failed, 2 wrong usage or
//! input.
#![allow(clippy::print_stdout, reason = "the command's results go to stdout")]

mod cli;

use std::process::ExitCode;

use clap::Parser;

/// Every tensor operation allocates its result; the system allocator would return those pages at once and fault them
/// in again.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match cli::run(cli::Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}
