//! Options that `mkgc train`, `sweep` and `bench` share.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use candle_core::DType;
use clap::Args;
use mkgc_builder::corpus::Extraction;
use mkgc_harness::config::Recipe;
use mkgc_harness::data::Benchmark;
use mkgc_harness::learner::TINY;
use mkgc_harness::methods::MethodSpec;
use mkgc_harness::train::{CHECKPOINT_EVERY, Request};

use super::device;

/// Options that choose encoders, settings and device of a run.
#[derive(Args, Clone)]
pub struct RunOptions {
    /// Text encoder: `tiny`, a folder with config.json, tokenizer.json and model.safetensors of a BERT, or a repository
    /// of the Hugging Face hub (`owner/name[@revision]`). Default: `tiny`.
    #[arg(long)]
    pub encoder: Option<String>,
    /// Vision encoder of multimodal methods: `tiny`, a folder with config.json and model.safetensors of a CLIP model,
    /// or a repository of the Hugging Face hub. Default: `tiny`.
    #[arg(long)]
    pub vision: Option<String>,
    /// TOML file with settings; flags win over it.
    #[arg(long)]
    pub recipe: Option<PathBuf>,
    /// Where to compute: `cpu`, `cuda` (the first GPU) or `cuda:N` (GPU number N). Default: `cpu`.
    #[arg(long)]
    pub device: Option<String>,
    /// Number type of states and products: f32, or bf16 on a GPU. Weights and sums stay in f32. Default: f32.
    #[arg(long, value_parser = ["f32", "bf16"])]
    pub dtype: Option<String>,
    /// One setting, e.g. `--set epochs=3`; may be repeated. `mkgc ls settings METHOD` lists them.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

/// How often a run saves a checkpoint inside a task.
#[derive(Args, Clone)]
pub struct CheckpointOptions {
    /// Minutes between two checkpoints inside a task, also a part of one such as 0.5. With 0, a task is checkpointed
    /// only when SIGINT, SIGTERM or SIGUSR1 interrupts it. It changes no number.
    #[arg(
        long,
        value_name = "MINUTES",
        default_value_t = CHECKPOINT_EVERY.as_secs_f64() / 60.0,
        value_parser = parse_minutes
    )]
    checkpoint_every: f64,
}

impl CheckpointOptions {
    /// Returns the time between two checkpoints; none if only an interruption makes one.
    pub fn every(&self) -> Option<Duration> {
        Some(Duration::from_secs_f64(self.checkpoint_every * 60.0)).filter(|every| !every.is_zero())
    }

    /// Returns the arguments that give this option to another process.
    pub fn arguments(&self) -> [OsString; 2] {
        ["--checkpoint-every".into(), self.checkpoint_every.to_string().into()]
    }
}

impl RunOptions {
    /// Reads the recipe, if there is one.
    pub fn recipe(&self) -> Result<Option<Recipe>> {
        Ok(self.recipe.as_deref().map(Recipe::read).transpose()?)
    }

    /// Returns the settings of `--set`.
    pub fn set(&self) -> Result<toml::Table> {
        let mut settings = toml::Table::new();
        for setting in &self.set {
            settings.extend(parse_setting(setting)?);
        }
        Ok(settings)
    }

    /// Makes the request for a run of a method with its default settings.
    pub fn request(&self, benchmark: &Path, method: MethodSpec, out: PathBuf) -> Result<Request> {
        let dtype = if self.dtype.as_deref() == Some("bf16") { DType::BF16 } else { DType::F32 };
        let device = self.device.as_deref().unwrap_or("cpu");
        let encoder = |name: &Option<String>| name.clone().unwrap_or_else(|| TINY.to_owned());
        Ok(Request {
            encoder: encoder(&self.encoder),
            vision: encoder(&self.vision),
            device: device::open(device, dtype)?,
            device_name: device.to_owned(),
            dtype,
            ..Request::new(benchmark, method, out)?
        })
    }

    /// Returns the arguments that give these options to another process.
    pub fn arguments(&self) -> Vec<OsString> {
        let recipe = self.recipe.as_ref().map(OsString::from);
        let text = |value: &Option<String>| value.as_ref().map(OsString::from);
        let options = [
            ("--encoder", text(&self.encoder)),
            ("--vision", text(&self.vision)),
            ("--recipe", recipe),
            ("--device", text(&self.device)),
            ("--dtype", text(&self.dtype)),
        ];
        let set = self.set.iter().map(|setting| ("--set", Some(OsString::from(setting))));
        let given = options.into_iter().chain(set).filter_map(|(name, value)| Some([OsString::from(name), value?]));
        given.flatten().collect()
    }
}

/// Parses a time that a [`Duration`] can hold.
fn parse_minutes(text: &str) -> Result<f64, String> {
    let minutes = text.parse().ok().filter(|minutes: &f64| Duration::try_from_secs_f64(*minutes * 60.0).is_ok());
    minutes.ok_or_else(|| "give a number of minutes, or 0 for none".to_owned())
}

/// Returns what a benchmark is about.
pub fn kind(benchmark: &Path) -> Result<Extraction> {
    Ok(Benchmark::open(benchmark, usize::MAX)?.kind())
}

/// Parses `key=value`, the value as TOML or, failing that, as a bare string.
fn parse_setting(setting: &str) -> Result<toml::Table> {
    let Some((key, value)) = setting.split_once('=') else {
        bail!("--set {setting}: expected KEY=VALUE");
    };
    let quoted = format!("{key} = {value:?}");
    toml::from_str(&format!("{key} = {value}"))
        .or_else(|_| toml::from_str(&quoted))
        .with_context(|| format!("--set {setting}"))
}
