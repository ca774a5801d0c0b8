//! `mkgc score`.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use mkgc_harness::external::{self, Request, Source};

#[derive(Args)]
pub struct ScoreArgs {
    /// Benchmark folder that `mkgc build` wrote; gold labels come from it.
    #[arg(long)]
    data: PathBuf,
    /// Predictions as .parquet, .jsonl or .csv with `id`, `prediction` and `stage` (from 0); without that column, the
    /// file of one stage as STAGE=FILE. The format is described in docs/score-your-own-model.md.
    #[arg(long, required = true, num_args = 1.., value_name = "[STAGE=]FILE")]
    predictions: Vec<Source>,
    /// The model's name in reports.
    #[arg(long)]
    name: String,
    /// What the model is, in words.
    #[arg(long)]
    description: Option<String>,
    /// Where to read more about the model.
    #[arg(long)]
    url: Option<String>,
    /// Seed that the model was trained with; score each seed into a folder of its own.
    #[arg(long, default_value_t = 0)]
    train_seed: u64,
    /// Run folder to create.
    #[arg(long)]
    out: PathBuf,
}

/// Prints the result as `mkgc train` does.
pub fn score(args: ScoreArgs) -> Result<()> {
    let ScoreArgs { data, predictions, name, description, url, train_seed, out } = args;
    let request = Request { benchmark: data, predictions, name, description, url, train_seed, out };
    println!("{}", serde_json::to_string_pretty(&external::score(&request)?)?);
    Ok(())
}
