//! `mkgc stream`: turns its arguments into a request, and deals out the benchmark.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use mkgc_harness::console::print;
use mkgc_harness::run::external::Budget;
use mkgc_harness::stream::{self, StreamRequest};

use super::score::About;

#[derive(Args)]
pub struct StreamArgs {
    /// Benchmark folder that `mkgc build` wrote.
    data: PathBuf,
    /// Command that starts the method, run by the shell in the current folder. It reads messages from its standard input
    /// and writes requests to its standard output, as docs/stream.md describes. Without it, mkgc itself speaks on its
    /// standard input and output with the program that started it.
    #[arg(long)]
    command: Option<String>,
    /// Run folder to create or resume.
    #[arg(long)]
    out: PathBuf,
    #[command(flatten)]
    about: About,
    /// Rows of each class of each task that the method may store. Without this and --memory, it may store none.
    #[arg(long, value_name = "N", conflicts_with = "memory")]
    memory_per_class: Option<usize>,
    /// Rows that the method may store in all, or `all`.
    #[arg(long, value_name = "N|all")]
    memory: Option<TotalMemory>,
    /// Seed that the method is told to use. Stream each seed into its own folder.
    #[arg(long, default_value_t = 0)]
    train_seed: u64,
    /// Stop after the first K tasks. The same command with a larger K, or without it, goes on from there.
    #[arg(long, value_name = "K")]
    tasks: Option<usize>,
    /// Seconds that the method may take until its next message; give it time for the longest task. Without it, mkgc waits
    /// indefinitely for a message, and up to an hour for the method to read one.
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    timeout: Option<Duration>,
}

#[derive(Debug, Clone, Copy)]
enum TotalMemory {
    All,
    Rows(usize),
}

impl FromStr for TotalMemory {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match text {
            "all" => Ok(Self::All),
            rows => rows.parse().map(Self::Rows).map_err(|_| "give a number of rows, or `all`".to_owned()),
        }
    }
}

fn seconds(text: &str) -> std::result::Result<Duration, String> {
    let seconds = text.parse().ok().filter(|seconds| *seconds > 0.0);
    let duration = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    duration.ok_or_else(|| "give a number of seconds above 0".to_owned())
}

/// Deals out the benchmark. If mkgc started the method, the result goes to stdout as that of `mkgc train` does; otherwise
/// stdout belongs to the conversation, at whose end the method gets the result.
pub fn stream(args: StreamArgs) -> Result<()> {
    let memory = match (args.memory_per_class, args.memory) {
        (None | Some(0), None) | (_, Some(TotalMemory::Rows(0))) => Budget::Nothing,
        (_, Some(TotalMemory::All)) => Budget::All,
        (_, Some(TotalMemory::Rows(rows))) => Budget::Total(rows),
        (Some(rows), None) => Budget::PerClass(rows),
    };
    let StreamArgs { data, command, out, about, train_seed, tasks, timeout, .. } = args;
    let About { name, description, url } = about;
    let request =
        StreamRequest { benchmark: data, out, name, description, url, command, memory, train_seed, tasks, timeout };
    let result = stream::run(&request)?;
    if request.command.is_some() {
        print(&format!("{}\n", serde_json::to_string_pretty(&result)?))?;
    }
    Ok(())
}
