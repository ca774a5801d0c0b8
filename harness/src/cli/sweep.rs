//! `mkgc sweep`.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;
use mkgc_harness::config::Overrides;
use mkgc_harness::data::Benchmark;
use mkgc_harness::methods::registry;
use mkgc_harness::sweep::{self, Plan};
use mkgc_harness::train::{Request, stop_after};

use super::options::RunOptions;

#[derive(Args)]
pub struct SweepArgs {
    /// TOML file that says which methods, seeds and variants to run (see harness/plans/).
    plan: PathBuf,
    /// Benchmark folders; each run is made on each of them.
    #[arg(long, required = true, num_args = 1..)]
    benchmark: Vec<PathBuf>,
    #[command(flatten)]
    options: RunOptions,
    /// Folder for runs/ and report/; finished runs in it are kept and interrupted ones resume.
    #[arg(long)]
    out: PathBuf,
}

/// Trains the runs of a plan and prints the report over them.
pub fn sweep(args: &SweepArgs) -> Result<()> {
    let plan = Plan::read(&args.plan)?;
    let requests = requests(args, &plan)?;
    let (report, failures) = sweep::run(&requests, &args.out.join("report"))?;
    print!("{report}");
    if !failures.is_empty() {
        let failed = failures.len();
        let all = requests.len();
        bail!("{failed} of {all} runs failed; the same command makes them again:\n{}", failures.join("\n"));
    }
    Ok(())
}

/// Resolves every run's settings before the first one starts: a typing error in the last one must not wait for it.
fn requests(args: &SweepArgs, plan: &Plan) -> Result<Vec<Request>> {
    let recipe = args.options.recipe()?;
    let shared = args.options.set()?;
    plan.check_shared(&shared)?;
    let mut requests = Vec::new();
    for benchmark in &args.benchmark {
        let opened = Benchmark::open(benchmark, usize::MAX)?;
        stop_after(plan.tasks, &opened)?;
        for planned in plan.runs() {
            let out = args.out.join("runs").join(&opened.manifest().name).join(planned.folder());
            let method = *registry::find(&planned.method)?;
            let given = Overrides { recipe: recipe.as_ref(), shared: shared.clone(), flags: planned.settings };
            let settings = registry::resolve(opened.kind(), &method, given)?;
            let request = args.options.request(benchmark, method, out)?;
            requests.push(Request { settings, variant: planned.variant, tasks: plan.tasks, ..request });
        }
    }
    Ok(requests)
}
