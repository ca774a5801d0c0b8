//! `mkgc score`: its arguments, some of which `mkgc stream` shares.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use mkgc_harness::console::{note, print};
use mkgc_harness::external::{self, PredictionFile, ScoreRequest, Scored};

#[derive(Args)]
pub struct ScoreArgs {
    /// Benchmark folder that `mkgc build` wrote. Gold labels are read from it.
    #[arg(long)]
    data: PathBuf,
    /// Files of predictions (.parquet, .jsonl or .csv) with the columns `id`, `prediction` and `stage` (from 0). For a file
    /// without the column `stage`, give STAGE=FILE. docs/score-your-own-model.md describes the format.
    #[arg(long, required = true, num_args = 1.., value_name = "[STAGE=]FILE")]
    predictions: Vec<PredictionFile>,
    #[command(flatten)]
    about: About,
    /// Seed that the model was trained with. Score each seed into its own folder.
    #[arg(long, default_value_t = 0)]
    train_seed: u64,
    /// Run folder to create, for `mkgc report` and `mkgc gate`.
    #[arg(long)]
    out: PathBuf,
}

/// What is recorded of a method that learned outside mkgc; `mkgc stream` asks for the same.
#[derive(Args)]
pub struct About {
    /// Name of the method in reports.
    #[arg(long)]
    pub name: String,
    /// What the method is, in words; run.json keeps the text.
    #[arg(long)]
    pub description: Option<String>,
    /// Address of a page about the method.
    #[arg(long)]
    pub url: Option<String>,
}

/// Scores the predictions, warns of what is strange about them, and prints the result as `mkgc train` does.
pub fn score(args: ScoreArgs) -> Result<()> {
    let ScoreArgs { data, predictions, about: About { name, description, url }, train_seed, out } = args;
    let request = ScoreRequest { benchmark: data, predictions, name, description, url, train_seed, out };
    let Scored { result, warnings } = external::score(&request)?;
    for warning in warnings {
        note(format_args!("warning: {warning}"));
    }
    Ok(print(&format!("{}\n", serde_json::to_string_pretty(&result)?))?)
}
