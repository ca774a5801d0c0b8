//! `mkgc demo`: builds synthetic corpora in the raw formats, trains some methods on them with tiny encoders and compares
//! these.

pub mod synthetic;

use std::path::{Path, PathBuf};

use candle_core::Device;
use mkgc_builder::build::{BuildOptions, OnBadImage, build};
use mkgc_builder::corpus::Extraction;

use crate::config::{Overrides, Recipe};
use crate::error::{Error, Result};
use crate::files::write_atomically;
use crate::methods::registry;
use crate::owned::OwnedFolder;
use crate::report;
use crate::train::{Request, Run};

/// Seed of the synthetic corpora.
const CORPUS_SEED: u64 = 2024;

/// Methods that the demo shows: the floor, replay, prototypes, the multimodal method, the upper bound.
pub const DEMO_METHODS: [&str; 5] = ["vanilla", "emr", "rp-cre", "lmc", "joint"];

/// Recipe for encoders that start from random weights.
const RECIPE: &str = include_str!("recipe.toml");

/// A generated benchmark: name, protocol, task, generator.
type Generator = fn(&Path, u64) -> std::io::Result<()>;
const BENCHMARKS: [(&str, &str, Extraction, Generator); 2] = [
    ("demo-re", synthetic::MNRE_PROTOCOL, Extraction::Relations, synthetic::write_mnre),
    ("demo-ner", synthetic::TWITTER_PROTOCOL, Extraction::Entities, synthetic::write_twitter2017),
];

/// What the demo writes into its folder.
const PARTS: [&str; 6] = ["benchmarks", "cache", "raw", "recipe.toml", "report", "runs"];

/// Fills `out` with `raw/`, `benchmarks/`, `cache/`, `runs/` and `report/`, and returns the report's main tables. Computes
/// on `device`, which `run.json` calls `device_name`.
///
/// # Errors
/// The folder holds files of the demo's names that are not its own, or cannot be written; a run fails.
pub fn run(out: &Path, device: &Device, device_name: &str) -> Result<String> {
    let path = out.join("recipe.toml");
    OwnedFolder::open(out, "demo", &PARTS.map(str::to_owned).into())?;
    if path.exists() && fs_err::read(&path)? != RECIPE.as_bytes() {
        let reason = "is not the demo's recipe any more; choose another --out, or move it away";
        return Err(Error::Usage(format!("{}: {reason}", path.display())));
    }
    write_atomically(&path, RECIPE.as_bytes())?;
    let recipe = Recipe::read(&path)?;
    let mut runs = Vec::new();
    for (name, protocol, task, generate) in BENCHMARKS {
        let benchmark = built(out, name, protocol, generate)?;
        for method in DEMO_METHODS {
            let folder = out.join("runs").join(name).join(method);
            let method = *registry::find(method)?;
            let given = Overrides { recipe: Some(&recipe), ..Overrides::default() };
            let request = Request {
                settings: registry::resolve(task, &method, given)?,
                device: device.clone(),
                device_name: device_name.to_owned(),
                cache: Some(out.join("cache")),
                ..Request::new(&benchmark, method, &folder)?
            };
            Run::open(request)?.train()?;
            runs.push(folder);
        }
    }
    let boards = report::boards(report::load(&runs)?)?;
    report::write(&boards, &out.join("report"))?;
    Ok(report::short(&boards))
}

fn built(out: &Path, name: &str, protocol: &str, generate: Generator) -> Result<PathBuf> {
    let raw = out.join("raw").join(name);
    let folder = out.join("benchmarks").join(name);
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
