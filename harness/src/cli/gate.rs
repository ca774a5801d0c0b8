//! `mkgc gate`: its arguments, and where its outcome goes.

use std::collections::BTreeMap;
use std::env;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use mkgc_harness::files::write_atomically;
use mkgc_harness::gate::baseline::{Baseline, Tolerance};
use mkgc_harness::gate::key::GateKey;
use mkgc_harness::gate::observed::{BySeed, observe};
use mkgc_harness::gate::{Outcome, check, junit, show, update};
use mkgc_harness::run::find::find;

#[derive(Args)]
pub struct GateArgs {
    /// JSON file of expected scores. docs/ci-gate.md describes the format.
    #[arg(long)]
    baseline: PathBuf,
    /// Run folders, or folders that contain some.
    #[arg(required = true)]
    runs: Vec<PathBuf>,
    /// Also write the outcome as JUnit XML to this file.
    #[arg(long, value_name = "FILE", conflicts_with = "update")]
    junit: Option<PathBuf>,
    /// Fail on an unexpected gain as well.
    #[arg(long, conflicts_with = "update")]
    strict_gain: bool,
    /// Write the baseline from these runs and print what changed.
    #[arg(long)]
    update: bool,
    /// With --update, the tolerance of every expectation in units of the metric (0.05 is 5 percentage points).
    #[arg(long, value_name = "T", requires = "update", conflicts_with = "standard_errors")]
    tolerance: Option<f64>,
    /// With --update, the tolerance of every expectation in standard errors over the seeds.
    #[arg(long, value_name = "K", requires = "update")]
    standard_errors: Option<f64>,
}

/// Compares runs with a baseline, or updates the baseline. Returns exit code 1 if an expectation fails.
pub fn gate(args: &GateArgs) -> Result<ExitCode> {
    let observed = observe(&find(&args.runs)?)?;
    if args.update {
        rewrite(args, &observed)?;
        return Ok(ExitCode::SUCCESS);
    }
    let outcome = check(&Baseline::read(&args.baseline)?, &observed, args.strict_gain);
    let table = show::markdown(&outcome);
    print!("{table}");
    if let Some(path) = &args.junit {
        write_atomically(path, &junit::xml(&outcome)?)?;
    }
    tell_github(&outcome, &table)?;
    Ok(if outcome.failed() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn rewrite(args: &GateArgs, observed: &BTreeMap<GateKey, BySeed>) -> Result<()> {
    let old = if args.baseline.exists() { Some(Baseline::read(&args.baseline)?) } else { None };
    let errors = args.standard_errors.map(Tolerance::StandardErrors);
    let new = update::update(old.as_ref(), observed, args.tolerance.map(Tolerance::Absolute).or(errors))?;
    new.write(&args.baseline)?;
    let changes = update::diff(old.as_ref(), &new);
    changes.iter().for_each(|change| println!("{change}"));
    eprintln!("{}: {} changes", args.baseline.display(), changes.len());
    Ok(())
}

/// Writes annotations and the job summary if GitHub Actions asks for them.
fn tell_github(outcome: &Outcome, table: &str) -> Result<()> {
    if env::var_os("GITHUB_ACTIONS").is_some_and(|value| value == "true") {
        show::annotations(outcome).iter().for_each(|line| eprintln!("{line}"));
    }
    if let Some(path) = env::var_os("GITHUB_STEP_SUMMARY").filter(|path| !path.is_empty()) {
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path)?;
        writeln!(file, "## mkgc gate\n\n{table}")?;
    }
    Ok(())
}
