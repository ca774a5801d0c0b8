//! `mkgc sweep`: makes the runs of a plan, submits them to Slurm, or shows what has become of them.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, anyhow, bail};
use candle_core::DType;
use clap::{ArgGroup, Args};
use mkgc_harness::console::{note, print};
use mkgc_harness::run::interrupt::{INTERRUPTED, Interrupt};
use mkgc_harness::sweep::slurm::{self, SlurmOptions};
use mkgc_harness::sweep::{self, Gap, JobOptions, Outcome, Plan, PlannedRun, Sweep, SweepOverrides};
use mkgc_harness::train::Request;

use super::device;
use super::options::{CheckpointOptions, RunOptions};
use super::slurm::SlurmArgs;

#[derive(Args)]
#[command(group(ArgGroup::new("instead").args(["dry_run", "status", "report", "run"])))]
pub struct SweepArgs {
    /// TOML file that says which benchmarks, methods, seeds, variants and encoders to run (docs/sweep.md).
    plan: PathBuf,
    /// Benchmark folders, in place of those of the plan; each run is made on each of them.
    #[arg(long, num_args = 1..)]
    benchmark: Vec<PathBuf>,
    #[command(flatten)]
    options: RunOptions,
    #[command(flatten)]
    checkpoints: CheckpointOptions,
    /// Folder for benchmarks/, runs/, logs/ and report/; finished runs in it are kept and interrupted ones resume.
    #[arg(long)]
    out: Option<PathBuf>,
    /// Print the numbered list of runs with their spec hashes, and stop.
    #[arg(long)]
    dry_run: bool,
    /// Print what has become of each run, and stop.
    #[arg(long)]
    status: bool,
    /// Write the report over the finished runs and list the others with causes and logs; exit code 1 if there are any.
    #[arg(long)]
    report: bool,
    /// Make run N of the list and nothing else. Without N, the number is SLURM_ARRAY_TASK_ID plus --offset, or
    /// JOB_COMPLETION_INDEX plus --offset.
    #[arg(long, value_name = "N", num_args = 0..=1)]
    run: Option<Option<usize>>,
    /// What to add to the number that the cluster gives, because it limits the numbers of an array.
    #[arg(long, value_name = "N", default_value_t = 0, requires = "run")]
    offset: usize,
    /// Runs at a time, each a process of its own with its share of the threads and, if there are several, one of the
    /// GPUs. Default: 1.
    #[arg(long, value_name = "N", value_parser = parse_jobs)]
    jobs: Option<usize>,
    /// Make runs again that have failed; without it, they stay as they are and are listed at the end.
    #[arg(long)]
    retry_failed: bool,
    /// Memory that a run takes. While other runs are in progress, a new one starts only if this much memory is free.
    /// Default: 1 GiB, or the most that any run of the sweep has taken so far.
    #[arg(long, value_name = "GIB", value_parser = parse_gib)]
    memory_per_run: Option<f64>,
    #[command(flatten)]
    slurm: SlurmArgs,
}

fn parse_jobs(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|jobs| *jobs > 0).ok_or_else(|| "give a whole number from 1 on".to_owned())
}

fn parse_gib(text: &str) -> Result<f64, String> {
    let gib = text.parse().ok().filter(|gib: &f64| gib.is_finite() && *gib > 0.0);
    gib.ok_or_else(|| "give a number of GiB above 0".to_owned())
}

/// Makes the runs of a plan and prints the report over them, or does what a flag asks for instead.
pub fn sweep(args: &SweepArgs) -> Result<ExitCode> {
    let plan = Plan::read(&args.plan)?;
    let sweep = Sweep::new(&plan, &args.given()?)?;
    let dtype = if sweep.dtype == "bf16" { DType::BF16 } else { DType::F32 };
    device::check(&sweep.device, dtype)?;
    if args.dry_run && args.slurm.slurm {
        print(&slurm::preview(&sweep, &args.slurm_options()?)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    if args.dry_run {
        print(&sweep.list())?;
        return Ok(ExitCode::SUCCESS);
    }
    if args.status {
        print(&sweep::status(&sweep)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(number) = args.run {
        let number = number.map_or_else(|| array_number(args.offset), Ok)?;
        // The run must be the right one before a GPU is opened.
        let run = sweep.run(number)?;
        if args.slurm.expect.as_ref().is_some_and(|expected| *expected != run.hash) {
            let name = &run.name;
            let remedy = "restore what has changed, or submit the plan as it is now with `mkgc sweep --slurm`";
            bail!(
                "run {number}, {name}, is not the one that was submitted: the plan, a recipe or a benchmark has \
                 changed; {remedy}"
            );
        }
        sweep::make_one(&sweep, number, |run| args.request(&sweep, run))?;
        return Ok(ExitCode::SUCCESS);
    }
    if args.report {
        let gaps = report(&sweep)?;
        return Ok(if gaps.is_empty() { ExitCode::SUCCESS } else { list(&gaps, sweep.runs.len()) });
    }
    make(args, &plan, &sweep)
}

fn make(args: &SweepArgs, plan: &Plan, sweep: &Sweep) -> Result<ExitCode> {
    let submission = args.slurm.slurm.then(|| args.slurm_options()).transpose()?;
    sweep.build()?;
    // A benchmark that has just been built may not suit a method.
    let sweep = Sweep::new(plan, &args.given()?)?;
    if let Some(submission) = submission {
        print(&slurm::submit(&sweep, &submission)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let memory = args.memory_per_run.map(|gib| (gib * f64::from(1 << 30)) as u64);
    let jobs = args.jobs.unwrap_or(1);
    let options = JobOptions { jobs, retry_failed: args.retry_failed, memory, arguments: args.of_jobs() };
    let outcome = sweep::make(&sweep, &options)?;
    if outcome == Outcome::Interrupted {
        note("interrupted; the same command goes on");
        return Ok(ExitCode::from(INTERRUPTED));
    }
    let gaps = report(&sweep)?;
    if gaps.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    let listed: Vec<String> = gaps.iter().map(ToString::to_string).collect();
    let lacking = sweep::lacking(&gaps, sweep.runs.len());
    let retry = "and with --retry-failed it makes failed ones again whose cause names no other remedy";
    let retry = if gaps.iter().any(|gap| gap.state == "failed") { format!(", {retry}") } else { String::new() };
    bail!("{lacking}; the same command goes on with unfinished ones{retry}:\n{}", listed.join("\n"))
}

/// Prints the report over the finished runs and returns the others.
fn report(sweep: &Sweep) -> Result<Vec<Gap>> {
    let (text, gaps) = sweep::write_report(sweep)?;
    print(&text)?;
    Ok(gaps)
}

fn list(gaps: &[Gap], all: usize) -> ExitCode {
    note(format_args!("{}:", sweep::lacking(gaps, all)));
    for gap in gaps {
        note(gap);
    }
    ExitCode::FAILURE
}

/// Returns the number of the run that a cluster asks this process for.
fn array_number(offset: usize) -> Result<usize> {
    const VARIABLES: [&str; 2] = ["SLURM_ARRAY_TASK_ID", "JOB_COMPLETION_INDEX"];
    let found = VARIABLES.into_iter().find_map(|name| Some((name, std::env::var(name).ok()?)));
    let (name, value) = found.with_context(|| format!("--run needs a number, or one of {}", VARIABLES.join(", ")))?;
    let number: usize = value.parse().with_context(|| format!("{name} is `{value}`, which is no number"))?;
    Ok(number.saturating_add(offset))
}

impl SweepArgs {
    /// Returns what the command line says beside the plan.
    fn given(&self) -> Result<SweepOverrides> {
        let RunOptions { encoder, vision, recipe, device, dtype, .. } = self.options.clone();
        let settings = self.options.set()?;
        Ok(SweepOverrides {
            benchmarks: self.benchmark.clone(),
            out: self.out.clone(),
            encoder,
            vision,
            recipe,
            device,
            dtype,
            settings,
        })
    }

    /// Makes the request for a run, whose benchmark must have been built, with what it shares with the others.
    fn request(&self, sweep: &Sweep, run: &PlannedRun) -> Result<Request> {
        let mut options = self.options.clone();
        options.encoder = Some(run.encoder.clone());
        options.vision = Some(run.vision.clone());
        options.device = Some(sweep.device.clone());
        options.dtype = Some(sweep.dtype.clone());
        let request = options.request(sweep.benchmark(run), *run.method, sweep.folder(run)?.dir().to_owned())?;
        let checkpoint_every = self.checkpoints.every();
        Ok(Request { checkpoint_every, interrupt: Interrupt::on_signals()?, ..request })
    }

    fn slurm_options(&self) -> Result<SlurmOptions> {
        let text = |argument: OsString| {
            argument.into_string().map_err(|argument| anyhow!("{}: jobs need arguments in UTF-8", argument.display()))
        };
        let arguments = self.of_jobs().into_iter().map(text).collect::<Result<_>>()?;
        self.slurm.options(arguments, self.jobs, self.retry_failed)
    }

    /// Returns the arguments of this program that name the same sweep.
    fn of_jobs(&self) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = vec!["sweep".into(), self.plan.clone().into()];
        if !self.benchmark.is_empty() {
            arguments.push("--benchmark".into());
            arguments.extend(self.benchmark.iter().map(Into::into));
        }
        arguments.extend(self.options.arguments());
        arguments.extend(self.checkpoints.arguments());
        if let Some(out) = &self.out {
            arguments.extend(["--out".into(), out.into()]);
        }
        arguments
    }
}
