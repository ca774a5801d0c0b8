//! `mkgc demo`: synthetic corpora in the raw formats, built, learned by some methods with tiny encoders, compared.

pub mod synthetic;

use std::path::{Path, PathBuf};

use candle_core::{DType, Device};
use mkgc_builder::build::{BuildOptions, OnBadImage, build};
use mkgc_builder::corpus::TaskKind;

use crate::config;
use crate::error::Result;
use crate::learner::TINY;
use crate::report;
use crate::stream::{Request, train};

/// Seed of the synthetic corpora.
const CORPUS_SEED: u64 = 2024;

/// Methods it shows: the floor, replay, prototypes, the multimodal method, the upper bound.
pub const DEMO_METHODS: [&str; 5] = ["vanilla", "emr", "rp-cre", "lmc", "joint"];

/// Recipe for encoders that start from random weights.
const RECIPE: &str = include_str!("recipe.toml");

/// A generated benchmark: name, protocol, task, generator.
type Generator = fn(&Path, u64) -> std::io::Result<()>;
const BENCHMARKS: [(&str, &str, TaskKind, Generator); 2] = [
    ("demo-re", synthetic::MNRE_PROTOCOL, TaskKind::Re, synthetic::write_mnre),
    ("demo-ner", synthetic::TWITTER_PROTOCOL, TaskKind::Ner, synthetic::write_twitter2017),
];

/// Fills `out` with `raw/`, `benchmarks/`, `cache/`, `runs/` and `report/`; returns the report's main tables. Computes on
/// `device`, which `run.json` calls `device_name`.
pub fn run(out: &Path, (device, device_name): (&Device, &str)) -> Result<String> {
    let recipe = out.join("recipe.toml");
    fs_err::create_dir_all(out)?;
    fs_err::write(&recipe, RECIPE)?;
    let mut runs = Vec::new();
    for (name, protocol, task, generate) in BENCHMARKS {
        let benchmark = built(out, name, protocol, generate)?;
        for method in DEMO_METHODS {
            let folder = out.join("runs").join(name).join(method);
            train(&Request {
                benchmark: benchmark.clone(),
                method: method.to_owned(),
                variant: None,
                encoder: TINY.to_owned(),
                vision: TINY.to_owned(),
                tasks: None,
                resolved: config::resolve(task, method, Some(&recipe), toml::Table::new())?,
                device: device.clone(),
                device_name: device_name.to_owned(),
                dtype: DType::F32,
                cache: out.join("cache"),
                out: folder.clone(),
            })?;
            runs.push(folder);
        }
    }
    let boards = report::boards(report::load(&runs)?)?;
    report::write(&boards, &out.join("report"))?;
    Ok(report::short(&boards))
}

fn built(out: &Path, name: &str, protocol: &str, generate: Generator) -> Result<PathBuf> {
    let (raw, folder) = (out.join("raw").join(name), out.join("benchmarks").join(name));
    if folder.exists() {
        return Ok(folder);
    }
    generate(&raw, CORPUS_SEED)?;
    let path = raw.join("protocol.toml");
    fs_err::write(&path, protocol)?;
    let mut options = BuildOptions::new(path.to_string_lossy(), raw, folder.clone());
    options.on_bad_image = OnBadImage::Error;
    build(&options)?;
    Ok(folder)
}
