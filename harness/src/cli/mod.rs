//! Arguments as typed, and the functions they select.

mod bench;
mod benchmark;
mod device;
mod fetch;
mod gate;
mod ls;
mod options;
mod pages;
mod predict;
mod score;
mod slurm;
mod stream;
mod sweep;
mod train;
mod watch;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use candle_core::DType;
use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use mkgc_harness::console::print;
use mkgc_harness::report;

/// What `--version` adds to `-V`: the commit and the features that this program is built of.
const LONG_VERSION: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    "\ncommit: ",
    env!("MKGC_BUILD_COMMIT"),
    "\nfeatures: ",
    env!("MKGC_BUILD_FEATURES"),
);

/// Class-incremental benchmarks for multimodal knowledge-graph construction: build splits, train, compare.
#[derive(Parser)]
#[command(name = "mkgc", version, long_version = LONG_VERSION, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Generate synthetic corpora, build them, train five methods with tiny encoders and print the report. Works offline.
    Demo {
        /// Folder to keep raw files, benchmarks, runs and report in (default: a temporary folder, deleted at the end).
        #[arg(long)]
        out: Option<PathBuf>,
        /// Where to compute: `cpu`, `cuda` (the first GPU) or `cuda:N` (GPU number N).
        #[arg(long, default_value = "cpu")]
        device: String,
    },
    /// Download the published files of a corpus, verified by their SHA-256 sums; goes on with an interrupted download.
    Fetch(fetch::FetchArgs),
    /// Build a benchmark folder from the files of a corpus.
    Build(benchmark::BuildArgs),
    /// Check every file of a benchmark folder against its manifest.
    Verify {
        /// Folder that `mkgc build` wrote.
        dir: PathBuf,
    },
    /// Write a benchmark in another layout.
    Export(benchmark::ExportArgs),
    /// Train a method on a benchmark, task after task; resumes an interrupted run.
    Train(train::TrainArgs),
    /// Label new sentences with the network of a run that was trained with `--save-model`.
    Predict(predict::PredictArgs),
    /// Train the runs of a plan: benchmarks, methods, seeds, variants and encoders, some at a time, and report.
    Sweep(sweep::SweepArgs),
    /// Time the optimiser steps of a method on rows of a benchmark: JSON to stdout.
    Bench(bench::BenchArgs),
    /// Compare the kernels of a GPU with the CPU: JSON to stdout, exit code 1 if one differs.
    Kernels {
        /// The GPU to check: `cuda` (the first one) or `cuda:N` (GPU number N).
        #[arg(long, default_value = "cuda")]
        device: String,
    },
    /// Score the predictions of a model trained elsewhere. Writes a run folder for reports and prints the result.
    Score(score::ScoreArgs),
    /// Deal out a benchmark task by task to a method in any language, under the rules that bind mkgc's own methods, and score
    /// it.
    Stream(stream::StreamArgs),
    /// Compare runs with a baseline. Prints a table; the exit code is 1 on a regression.
    Gate(gate::GateArgs),
    /// List the shipped benchmarks, the methods, or the settings of one method.
    Ls {
        #[command(subcommand)]
        listing: ls::Listing,
    },
    /// Compare runs. Prints Markdown, and writes Markdown, HTML, CSV, LaTeX, SVG and JSON into a folder.
    Report {
        /// Run folders, folders that contain some, or published boards.
        #[arg(required = true)]
        runs: Vec<PathBuf>,
        /// Folder to write report.md, report.html, board.json, the tables and the plots into. Of what is there, only files
        /// of an earlier report are replaced.
        #[arg(long, required_unless_present = "publish")]
        out: Option<PathBuf>,
        /// Folder to publish: the page (index.html), board.json, the tables and plots, and the record and predictions of
        /// every run. GitHub Pages and the Hugging Face hub show it as it is, and `mkgc report` reads it again.
        #[arg(long, value_name = "DIR")]
        publish: Option<PathBuf>,
        /// Make entries of their own of runs of one method that differ in encoders, settings or the memory budget, and name
        /// what differs. Otherwise such runs are refused.
        #[arg(long)]
        split: bool,
    },
    /// Show what runs are doing: a table of running and finished runs, renewed on a terminal until all have ended.
    Watch(watch::WatchArgs),
    /// Write the JSON Schemas of manifests, run records, results, failures, predictions, saved models and messages of `mkgc
    /// stream`.
    Schema {
        /// Folder to write them into.
        #[arg(long)]
        out: PathBuf,
    },
    /// Print the script by which a shell completes mkgc's commands and options.
    Completions {
        /// Shell that the script is for.
        shell: Shell,
    },
    /// Write the manual pages: mkgc.1 and one for each command.
    Man {
        /// Folder to write them into.
        #[arg(long)]
        out: PathBuf,
    },
}

impl Cli {
    /// Returns whether the command computes with tensors, step after step.
    pub fn computes(&self) -> bool {
        use Command::{Bench, Demo, Kernels, Predict, Sweep, Train};
        matches!(self.command, Demo { .. } | Train(_) | Predict(_) | Sweep(_) | Bench(_) | Kernels { .. })
    }
}

/// Runs the command that was typed.
pub fn run(cli: Cli) -> Result<ExitCode> {
    match cli.command {
        Command::Demo { out, device } => demo(out, &device)?,
        Command::Fetch(args) => fetch::fetch(args)?,
        Command::Build(args) => benchmark::build(args)?,
        Command::Verify { dir } => return benchmark::verify(&dir),
        Command::Export(args) => benchmark::export(&args)?,
        Command::Train(args) => train::train(args)?,
        Command::Predict(args) => predict::predict(&args)?,
        Command::Sweep(args) => return sweep::sweep(&args),
        Command::Bench(args) => bench::bench(&args)?,
        Command::Kernels { device } => return bench::kernels(&device),
        Command::Score(args) => score::score(args)?,
        Command::Stream(args) => stream::stream(args)?,
        Command::Gate(args) => return gate::gate(&args),
        Command::Ls { listing } => ls::ls(&listing)?,
        Command::Report { runs, out, publish, split } => {
            let loaded = report::load(&runs)?;
            let boards = report::boards(if split { report::split(loaded)? } else { loaded })?;
            let published = publish.map(|dir| report::publish(&boards, &dir)).transpose()?;
            let written = out.map(|out| report::write(&boards, &out)).transpose()?;
            print(&written.or(published).unwrap_or_default())?;
        }
        Command::Watch(args) => watch::watch(&args)?,
        Command::Schema { out } => mkgc_harness::schema::write(&out)?,
        Command::Completions { shell } => pages::completions(Cli::command(), shell)?,
        Command::Man { out } => pages::man(Cli::command(), &out)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn demo(out: Option<PathBuf>, name: &str) -> Result<()> {
    let device = device::open(name, DType::F32)?;
    let temporary = tempfile::tempdir()?;
    let folder = out.unwrap_or_else(|| temporary.path().to_owned());
    Ok(print(&mkgc_harness::demo::run(&folder, &device, name)?)?)
}
