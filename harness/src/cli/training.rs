//! `mkgc train`, `mkgc sweep`, `mkgc bench`, `mkgc ls methods`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use candle_core::DType;
use clap::Args;
use mkgc_harness::bench::{self, Timing};
use mkgc_harness::config::{self, Resolved};
use mkgc_harness::data::{Benchmark, cache};
use mkgc_harness::learner::TINY;
use mkgc_harness::methods::{self, METHODS};
use mkgc_harness::stream::{self, Request};
use mkgc_harness::sweep::{self, Plan};

use super::device;

/// With what and where to compute.
#[derive(Args, Clone)]
pub struct Means {
    /// Text encoder: `tiny`, a folder with config.json, tokenizer.json and model.safetensors of a BERT, or a repository
    /// of the Hugging Face hub (`owner/name[@revision]`).
    #[arg(long, default_value = TINY)]
    encoder: String,
    /// Vision encoder of multimodal methods: `tiny`, a folder with config.json and model.safetensors of a CLIP model,
    /// or a repository.
    #[arg(long, default_value = TINY)]
    vision: String,
    /// TOML file with settings; flags win over it.
    #[arg(long)]
    recipe: Option<PathBuf>,
    /// Where to compute: `cpu`, `cuda` (the first GPU) or `cuda:N` (GPU number N).
    #[arg(long, default_value = "cpu")]
    device: String,
    /// Number type of states and products: f32, or bf16 on a GPU. Weights and sums stay in f32.
    #[arg(long, default_value = "f32", value_parser = ["f32", "bf16"])]
    dtype: String,
    /// One setting, e.g. `--set epochs=3`; may be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

#[derive(Args)]
pub struct TrainArgs {
    /// Folder that `mkgc build` wrote.
    benchmark: PathBuf,
    /// One of `mkgc ls methods`.
    #[arg(long)]
    method: String,
    #[command(flatten)]
    means: Means,
    /// Run folder to create, or to go on with.
    #[arg(long, required_unless_present = "print_config")]
    out: Option<PathBuf>,
    /// Stop after the first K tasks. The same command with a larger K, or without it, goes on from there.
    #[arg(long, value_name = "K")]
    tasks: Option<usize>,
    /// Seed of initialisation, shuffling, dropout and memory selection.
    #[arg(long)]
    train_seed: Option<i64>,
    /// Passes over each task's rows.
    #[arg(long)]
    epochs: Option<i64>,
    /// Rows per step.
    #[arg(long)]
    batch_size: Option<i64>,
    /// Print the settings and where each came from, and stop.
    #[arg(long)]
    print_config: bool,
}

#[derive(Args)]
pub struct SweepArgs {
    /// TOML file that says which methods, seeds and variants to run (see harness/plans/).
    plan: PathBuf,
    /// Benchmark folders; each run is made on each of them.
    #[arg(long, required = true, num_args = 1..)]
    benchmark: Vec<PathBuf>,
    #[command(flatten)]
    means: Means,
    /// Folder for runs/ and report/; finished runs in it are kept, an interrupted one goes on.
    #[arg(long)]
    out: PathBuf,
}

#[derive(Args)]
pub struct BenchArgs {
    /// Folder that `mkgc build` wrote.
    benchmark: PathBuf,
    /// One of `mkgc ls methods`.
    #[arg(long)]
    method: String,
    #[command(flatten)]
    means: Means,
    /// Steps to time, after two more that are not counted.
    #[arg(long, default_value_t = 10)]
    steps: usize,
    /// Rows of the second task instead of the first, after two steps on the first.
    #[arg(long)]
    second_task: bool,
    /// Word pieces per row: each row's own, repeated.
    #[arg(long)]
    length: Option<usize>,
    /// Folder for an account of the steps and the weights they began with.
    #[arg(long)]
    account: Option<PathBuf>,
}

pub fn bench(args: BenchArgs) -> Result<()> {
    let resolved = resolved(&args.means, &args.benchmark, &args.method, toml::Table::new())?;
    let request = request(&args.means, args.benchmark, (args.method, None), resolved, PathBuf::new())?;
    let (steps, second_task, length, account) = (args.steps, args.second_task, args.length, args.account.as_deref());
    println!("{}", bench::steps(&request, &Timing { steps, second_task, length, account })?);
    Ok(())
}

pub fn train(args: TrainArgs) -> Result<()> {
    let integers = [("train_seed", args.train_seed), ("epochs", args.epochs), ("batch_size", args.batch_size)];
    let integers = integers.into_iter().filter_map(|(key, value)| Some((key.to_owned(), toml::Value::Integer(value?))));
    let resolved = resolved(&args.means, &args.benchmark, &args.method, integers.collect())?;
    if args.print_config {
        print!("{}", resolved.to_toml()?);
        return Ok(());
    }
    let out = args.out.context("--out is missing")?;
    let request = request(&args.means, args.benchmark, (args.method, None), resolved, out)?;
    let result = stream::train(&Request { tasks: args.tasks, ..request })?;
    println!("{}", serde_json::to_string_pretty(&result)?);
    Ok(())
}

/// Runs a plan and prints the report over its runs.
pub fn sweep(args: &SweepArgs) -> Result<()> {
    let plan = Plan::read(&args.plan)?;
    // Every run's settings are resolved before the first one starts: the last run's typing error must not wait for it.
    let mut requests = Vec::new();
    for benchmark in &args.benchmark {
        let opened = Benchmark::open(benchmark, 128)?;
        stream::stop_after(plan.tasks, &opened)?;
        let name = &opened.manifest().name;
        for planned in plan.runs() {
            let out = args.out.join("runs").join(name).join(planned.folder());
            let resolved = resolved(&args.means, benchmark, &planned.method, planned.settings.clone())?;
            let what = (planned.method.clone(), planned.variant.clone());
            let request = request(&args.means, benchmark.clone(), what, resolved, out)?;
            requests.push(Request { tasks: plan.tasks, ..request });
        }
    }
    let (report, failures) = sweep::run(&requests, &args.out.join("report"))?;
    print!("{report}");
    if !failures.is_empty() {
        let (failed, all) = (failures.len(), requests.len());
        bail!("{failed} of {all} runs failed; the same command makes them again:\n{}", failures.join("\n"));
    }
    Ok(())
}

/// Compares every kernel with its twin on the CPU.
pub fn kernels(name: &str) -> Result<ExitCode> {
    let device = device::open(name, DType::F32)?;
    if device.is_cpu() {
        bail!("--device {name}: kernels run on a GPU; name cuda or cuda:N");
    }
    #[cfg(feature = "cuda")]
    {
        let checks = mkgc_models::kernel_check::check_kernels(&device)?;
        println!("{}", serde_json::to_string_pretty(&checks)?);
        if !checks.iter().all(mkgc_models::kernel_check::KernelCheck::passed) {
            return Ok(ExitCode::FAILURE);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// One line per method, tab-separated, a heading first.
pub fn ls_methods() {
    println!("name\tmodality\trehearses\tmemory\tsource\tabout");
    for method in METHODS {
        let rehearses = if method.rehearses { "yes" } else { "no" };
        let (modality, memory, source) = (method.modality(), method.memory, method.source);
        println!("{}\t{modality}\t{rehearses}\t{memory}\t{source}\t{}", method.name, method.about);
    }
}

fn request(
    means: &Means,
    benchmark: PathBuf,
    (method, variant): (String, Option<String>),
    resolved: Resolved,
    out: PathBuf,
) -> Result<Request> {
    let (encoder, vision) = (means.encoder.clone(), means.vision.clone());
    let dtype = if means.dtype == "bf16" { DType::BF16 } else { DType::F32 };
    let (device, device_name) = (device::open(&means.device, dtype)?, means.device.clone());
    let cache = cache::folder()?;
    let tasks = None;
    Ok(Request { benchmark, method, variant, encoder, vision, tasks, resolved, device, device_name, dtype, cache, out })
}

/// The settings of a run: `--set` wins over the recipe, `given` (named flags, a plan's variant) over both.
fn resolved(means: &Means, benchmark: &Path, method: &str, given: toml::Table) -> Result<Resolved> {
    methods::registry::find(method)?;
    let mut flags = toml::Table::new();
    for setting in &means.set {
        flags.extend(parse_setting(setting)?);
    }
    flags.extend(given);
    let kind = Benchmark::open(benchmark, 128)?.kind();
    Ok(config::resolve(kind, method, means.recipe.as_deref(), flags)?)
}

/// `key=value`, the value as TOML or, failing that, as a bare string.
fn parse_setting(setting: &str) -> Result<toml::Table> {
    let Some((key, value)) = setting.split_once('=') else {
        bail!("--set {setting}: expected KEY=VALUE");
    };
    let quoted = format!("{key} = {value:?}");
    toml::from_str(&format!("{key} = {value}"))
        .or_else(|_| toml::from_str(&quoted))
        .with_context(|| format!("--set {setting}"))
}
