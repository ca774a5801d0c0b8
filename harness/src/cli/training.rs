//! `mkgc train`.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use candle_core::Device;
use clap::Args;
use mkgc_harness::config::{self, Resolved};
use mkgc_harness::data::Benchmark;
use mkgc_harness::stream::{self, Request};

#[derive(Args)]
pub struct TrainArgs {
    /// Folder that `mkgc build` wrote.
    benchmark: PathBuf,
    /// vanilla, emr or joint.
    #[arg(long)]
    method: String,
    /// `tiny`, or a Hugging Face folder of a BERT encoder (config.json, tokenizer.json, model.safetensors).
    #[arg(long, default_value = "tiny")]
    encoder: String,
    /// TOML file with settings; flags win over it.
    #[arg(long)]
    recipe: Option<PathBuf>,
    /// Run folder to create, or to go on with.
    #[arg(long, required_unless_present = "print_config")]
    out: Option<PathBuf>,
    /// cpu, cuda or cuda:N.
    #[arg(long, default_value = "cpu")]
    device: String,
    /// One setting, e.g. `--set epochs=3`; may be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
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

pub fn train(args: TrainArgs) -> Result<()> {
    let resolved = resolved(&args)?;
    if args.print_config {
        print!("{}", resolved.to_toml()?);
        return Ok(());
    }
    let out = args.out.context("--out is missing")?;
    let device = device(&args.device)?;
    let request = Request {
        benchmark: args.benchmark,
        method: args.method,
        encoder: args.encoder,
        resolved,
        device,
        device_name: args.device,
        out,
    };
    let result = stream::train(&request)?;
    println!("{}", serde_json::to_string_pretty(&result)?);
    Ok(())
}

fn resolved(args: &TrainArgs) -> Result<Resolved> {
    if !mkgc_harness::methods::NAMES.contains(&args.method.as_str()) {
        let names = mkgc_harness::methods::NAMES.iter().copied();
        bail!("method {}", config::unknown(&args.method, names));
    }
    let mut flags = toml::Table::new();
    for setting in &args.set {
        flags.extend(parse_setting(setting)?);
    }
    let named = [("train_seed", args.train_seed), ("epochs", args.epochs), ("batch_size", args.batch_size)];
    flags.extend(named.into_iter().filter_map(|(key, value)| Some((key.to_owned(), toml::Value::Integer(value?)))));
    let kind = Benchmark::open(&args.benchmark, 128)?.kind();
    Ok(config::resolve(kind, &args.method, args.recipe.as_deref(), flags)?)
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

fn device(name: &str) -> Result<Device> {
    if name == "cpu" {
        return Ok(Device::Cpu);
    }
    let ordinal = match name.strip_prefix("cuda") {
        Some("") => 0,
        Some(rest) => {
            rest.strip_prefix(':').and_then(|n| n.parse().ok()).with_context(|| format!("--device {name}"))?
        }
        None => bail!("--device {name}: expected cpu, cuda or cuda:N"),
    };
    if !cfg!(feature = "cuda") {
        bail!("--device {name}: this mkgc was built without GPU support; build it with `--features cuda`");
    }
    Device::new_cuda(ordinal).with_context(|| format!("--device {name}: no such GPU, or no driver"))
}
