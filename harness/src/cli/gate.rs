//! `mkgc gate`: its arguments, and where its outcome goes.

use std::env;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use mkgc_harness::console::{counted, note, print};
use mkgc_harness::files::write_atomically;
use mkgc_harness::gate::baseline::{Baseline, Tolerance};
use mkgc_harness::gate::observed::{Observations, observe};
use mkgc_harness::gate::{GateOutcome, check, junit, show, update};
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
    let observed = find(&args.runs).and_then(|runs| observe(&runs));
    if args.update {
        rewrite(args, &observed?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let baseline = Baseline::read(&args.baseline);
    let errors = [observed.as_ref().err(), baseline.as_ref().err()].into_iter().flatten().map(ToString::to_string);
    let errors: Vec<String> = errors.collect();
    // An outcome of before must not stand for this one.
    if let Some(path) = args.junit.as_ref().filter(|_| !errors.is_empty()) {
        write_atomically(path, &junit::error(&errors.join("\n"))?)?;
    }
    if on_github() {
        errors.iter().for_each(|error| note(format_args!("::error title=mkgc gate::{}", show::escaped(error))));
    }
    let (observed, baseline) = (observed?, baseline?);
    let outcome = check(&baseline, &observed, args.strict_gain);
    let told = tell(args, &outcome);
    if outcome.failed() {
        // The verdict is what the exit code must say, even if it cannot be written everywhere.
        told.into_iter().filter_map(Result::err).for_each(|error| note(format_args!("error: {error:#}")));
        return Ok(ExitCode::FAILURE);
    }
    told.into_iter().collect::<Result<()>>()?;
    Ok(ExitCode::SUCCESS)
}

/// Tells the outcome in every place: files and annotations first, then stdout, whose reader may have gone.
fn tell(args: &GateArgs, outcome: &GateOutcome) -> [Result<()>; 3] {
    let table = show::markdown(outcome);
    let written = args.junit.as_ref().map_or(Ok(()), |path| Ok(write_atomically(path, &junit::xml(outcome)?)?));
    [written, tell_github(outcome, &table), print(&table).map_err(Into::into)]
}

fn rewrite(args: &GateArgs, observed: &Observations) -> Result<()> {
    let old = if args.baseline.exists() { Some(Baseline::read(&args.baseline)?) } else { None };
    let errors = args.standard_errors.map(Tolerance::StandardErrors);
    let new = update::update(old.as_ref(), observed, args.tolerance.map(Tolerance::Absolute).or(errors))?;
    new.write(&args.baseline)?;
    let changes = update::diff(old.as_ref(), &new);
    note(format_args!("{}: {}", args.baseline.display(), counted(changes.len(), "change")));
    Ok(print(&changes.iter().map(|change| format!("{change}\n")).collect::<String>())?)
}

fn on_github() -> bool {
    env::var_os("GITHUB_ACTIONS").is_some_and(|value| value == "true")
}

/// Writes annotations and the job summary if GitHub Actions asks for them.
fn tell_github(outcome: &GateOutcome, table: &str) -> Result<()> {
    if on_github() {
        show::annotations(outcome).iter().for_each(note);
    }
    if let Some(path) = env::var_os("GITHUB_STEP_SUMMARY").filter(|path| !path.is_empty()) {
        let mut file = fs_err::OpenOptions::new().create(true).append(true).open(PathBuf::from(path))?;
        writeln!(file, "## mkgc gate\n\n{table}")?;
    }
    Ok(())
}
