//! `mkgc bench`, which times optimiser steps, and `mkgc kernels`, which compares the kernels of a GPU with the CPU.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use candle_core::DType;
use clap::Args;
use mkgc_harness::bench::{self, Timing};
use mkgc_harness::config::Overrides;
use mkgc_harness::console::print;
use mkgc_harness::methods::registry;
use mkgc_harness::train::Request;

use super::device;
use super::options::{RunOptions, kind};

#[derive(Args)]
pub struct BenchArgs {
    /// Folder that `mkgc build` wrote.
    benchmark: PathBuf,
    /// One of `mkgc ls methods`.
    #[arg(long)]
    method: String,
    #[command(flatten)]
    options: RunOptions,
    /// Steps to time, after two more that are not counted.
    #[arg(long, default_value_t = 10)]
    steps: usize,
    /// Time steps on the second task instead of the first, after two steps on the first.
    #[arg(long)]
    second_task: bool,
    /// Word pieces per row: each row's own are repeated or cut to this number.
    #[arg(long)]
    length: Option<usize>,
    /// Folder for a trace of the steps and the weights they began with.
    #[arg(long)]
    account: Option<PathBuf>,
}

/// Times steps and prints what they took.
pub fn bench(args: &BenchArgs) -> Result<()> {
    let method = *registry::find(&args.method)?;
    let recipe = args.options.recipe()?;
    let given = Overrides { recipe: recipe.as_ref(), flags: args.options.set()?, ..Overrides::default() };
    let settings = registry::resolve(kind(&args.benchmark)?, &method, given)?;
    let request = args.options.request(&args.benchmark, method, PathBuf::new())?;
    let timing = Timing {
        steps: args.steps,
        second_task: args.second_task,
        length: args.length,
        trace: args.account.as_deref(),
    };
    Ok(print(&format!("{}\n", bench::steps(&Request { settings, ..request }, &timing)?))?)
}

/// Compares every kernel with its twin on the CPU; exit code 1 if one is off.
pub fn kernels(name: &str) -> Result<ExitCode> {
    let device = device::open(name, DType::F32)?;
    if device.is_cpu() {
        bail!("--device {name}: kernels run on a GPU; name cuda or cuda:N");
    }
    #[cfg(feature = "cuda")]
    {
        let checks = mkgc_models::kernel_check::check_kernels(&device)?;
        print(&format!("{}\n", serde_json::to_string_pretty(&checks)?))?;
        if !checks.iter().all(mkgc_models::kernel_check::KernelCheck::passed) {
            return Ok(ExitCode::FAILURE);
        }
    }
    Ok(ExitCode::SUCCESS)
}
