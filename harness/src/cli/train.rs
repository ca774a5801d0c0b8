//! `mkgc train`: trains a method on a benchmark, or prints the settings that it would train with.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use mkgc_harness::config::Overrides;
use mkgc_harness::console::{note, print};
use mkgc_harness::methods::registry;
use mkgc_harness::run::interrupt::Interrupt;
use mkgc_harness::train::{Request, Run, SaveModel};

use super::options::{CheckpointOptions, RunOptions, kind};

#[derive(Args)]
pub struct TrainArgs {
    /// Folder that `mkgc build` wrote.
    benchmark: PathBuf,
    /// One of `mkgc ls methods`.
    #[arg(long)]
    method: String,
    #[command(flatten)]
    options: RunOptions,
    #[command(flatten)]
    checkpoints: CheckpointOptions,
    /// Run folder to create or resume.
    #[arg(long, required_unless_present = "print_config")]
    out: Option<PathBuf>,
    /// Stop after the first K tasks. The same command with a larger K, or without it, resumes from there.
    #[arg(long, value_name = "K")]
    tasks: Option<usize>,
    /// Seed of initialisation, shuffling, dropout and memory selection.
    #[arg(long)]
    train_seed: Option<i64>,
    /// Passes over each task's rows.
    #[arg(long)]
    epochs: Option<i64>,
    /// Rows of the task in each optimiser step.
    #[arg(long)]
    batch_size: Option<i64>,
    /// Keep the network in the run folder, for `mkgc predict` and transformers: after the last task in model/, or after
    /// every task k in stages/k/model/.
    #[arg(long, value_name = "WHICH", num_args = 0..=1, require_equals = true, default_missing_value = "last")]
    save_model: Option<SaveArg>,
    /// Print the settings and where each came from, and stop.
    #[arg(long)]
    print_config: bool,
}

/// Which networks `--save-model` keeps.
#[derive(Clone, Copy, ValueEnum)]
enum SaveArg {
    /// The one after the last task
    Last,
    /// The one after each task
    Every,
}

impl SaveArg {
    fn request(self) -> SaveModel {
        match self {
            Self::Last => SaveModel::Last,
            Self::Every => SaveModel::Every,
        }
    }
}

/// Trains and prints the result.
pub fn train(args: TrainArgs) -> Result<()> {
    let method = *registry::find(&args.method)?;
    let recipe = args.options.recipe()?;
    let mut flags = args.options.set()?;
    let integers = [("train_seed", args.train_seed), ("epochs", args.epochs), ("batch_size", args.batch_size)];
    flags.extend(integers.into_iter().filter_map(|(key, value)| Some((key.to_owned(), toml::Value::Integer(value?)))));
    let given = Overrides { recipe: recipe.as_ref(), flags, ..Overrides::default() };
    let settings = registry::resolve(kind(&args.benchmark)?, &method, given)?;
    if args.print_config {
        return Ok(print(&settings.to_toml()?)?);
    }
    for key in &settings.ignored {
        note(format_args!("warning: the recipe sets `{key}`, which {} does not read", method.name));
    }
    let out = args.out.context("--out is missing")?;
    let request = args.options.request(&args.benchmark, method, out)?;
    let save_model = args.save_model.map(SaveArg::request);
    let interrupt = Interrupt::on_signals()?;
    let checkpoint_every = args.checkpoints.every();
    let request = Request { settings, tasks: args.tasks, save_model, checkpoint_every, interrupt, ..request };
    let result = Run::open(request)?.train()?;
    Ok(print(&format!("{}\n", serde_json::to_string_pretty(&result)?))?)
}
