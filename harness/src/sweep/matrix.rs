//! From a plan and flags to a numbered list of runs. Everything that can be wrong with one of them is found here,
//! before the first one begins.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use super::benchmarks::{self, SweepBenchmark};
use super::plan::{EncoderPair, Plan, Variant};
use super::spec::{self, PlannedRun};
use crate::config::{Overrides, Recipe, Resolved};
use crate::console::counted;
use crate::error::{Error, Result};
use crate::learner::TINY;
use crate::methods::{MethodSpec, registry};
use crate::run::{RunFolder, lock};
use crate::train::SaveModel;

/// Bytes of the longest name of a run. Names of files have 255; those of logs and of files being written are longer than the run's.
const LONGEST: usize = 200;

/// What the command line says beside the plan; each value wins over the plan's.
#[derive(Debug, Clone, Default)]
pub struct SweepOverrides {
    /// Benchmark folders, or folders that hold the orders of one protocol; default: those of the plan.
    pub benchmarks: Vec<PathBuf>,
    /// Folder for benchmarks, runs, logs and report.
    pub out: Option<PathBuf>,
    /// Text encoder of every run: `tiny`, a folder or a repository.
    pub encoder: Option<String>,
    /// Vision encoder of every multimodal run: `tiny`, a folder or a repository.
    pub vision: Option<String>,
    /// TOML file with settings, over which all others win.
    pub recipe: Option<PathBuf>,
    /// Where to compute: `cpu`, `cuda` or `cuda:N`.
    pub device: Option<String>,
    /// Number type: `f32` or `bf16`.
    pub dtype: Option<String>,
    /// Single settings for every method that reads them.
    pub settings: toml::Table,
}

/// The runs of a plan with everything that they share.
#[derive(Debug, Clone)]
pub struct Sweep {
    /// Every run: benchmarks outermost, then methods, variants, encoders and seeds.
    pub runs: Vec<PlannedRun>,
    /// Name of the device: `cpu`, `cuda` or `cuda:N`.
    pub device: String,
    /// Number type: `f32` or `bf16`.
    pub dtype: String,
    out: Option<PathBuf>,
    /// Which networks of each run are kept, which changes no number.
    pub(super) save_model: Option<SaveModel>,
    pub(super) benchmarks: Vec<SweepBenchmark>,
}

impl Sweep {
    /// Lists the runs of a plan. Nothing is written.
    ///
    /// # Errors
    /// The plan, a benchmark or a setting is wrong; two runs would be the same or share a folder.
    pub fn new(plan: &Plan, given: &SweepOverrides) -> Result<Self> {
        let out = given.out.clone().or_else(|| plan.out.as_deref().map(|out| plan.resolve(out)));
        let benchmarks = benchmarks::find(plan, &given.benchmarks, out.as_deref())?;
        let device = given.device.clone().or_else(|| plan.device.clone()).unwrap_or_else(|| "cpu".to_owned());
        let dtype = given.dtype.clone().or_else(|| plan.dtype.clone()).unwrap_or_else(|| "f32".to_owned());
        if !["f32", "bf16"].contains(&dtype.as_str()) {
            return Err(plan.error(format!("`dtype` is `{dtype}`; give f32 or bf16")));
        }
        let mut sweep = Self { runs: Vec::new(), device, dtype, out, save_model: plan.save_model, benchmarks };
        sweep.runs = PlanMatrix::new(plan, given)?.unfold(&sweep)?;
        check_unlike(plan, &sweep.runs)?;
        Ok(sweep)
    }

    /// Returns the folder for benchmarks, runs, logs and report.
    ///
    /// # Errors
    /// Neither the command line nor the plan names one.
    pub fn out(&self) -> Result<&Path> {
        let missing =
            || Error::Usage("give --out, or `out` in the plan: a folder for runs, logs and report".to_owned());
        self.out.as_deref().ok_or_else(missing)
    }

    /// Returns a run by its number.
    ///
    /// # Errors
    /// There is no such number.
    pub fn run(&self, number: usize) -> Result<&PlannedRun> {
        let runs = self.runs.len();
        let missing =
            || Error::Usage(format!("--run {number}: the plan has {}, numbered from 0", counted(runs, "run")));
        self.runs.get(number).ok_or_else(missing)
    }

    /// Returns the folder of a run.
    ///
    /// # Errors
    /// There is no folder for the sweep.
    pub fn folder(&self, run: &PlannedRun) -> Result<RunFolder> {
        Ok(RunFolder::new(&self.out()?.join("runs").join(&run.name)))
    }

    /// Returns the file with what a run printed.
    ///
    /// # Errors
    /// There is no folder for the sweep.
    pub fn log(&self, run: &PlannedRun) -> Result<PathBuf> {
        Ok(self.logs()?.join(format!("{}.log", run.name)))
    }

    /// Removes the checkpoint of a finished run. A process that was killed at its end may have left one.
    ///
    /// # Errors
    /// The folder cannot be read or changed.
    pub(super) fn tidy(&self, run: &PlannedRun) -> Result<()> {
        let folder = self.folder(run)?;
        if folder.record()?.stop_after.is_none() && lock::holder(&folder)?.is_none() {
            folder.remove_checkpoint()?;
        }
        Ok(())
    }

    /// Returns the folder with what runs printed.
    pub(super) fn logs(&self) -> Result<PathBuf> {
        Ok(self.out()?.join("logs"))
    }

    /// Returns the benchmark folder of a run, which may have to be built first.
    pub fn benchmark(&self, run: &PlannedRun) -> &Path {
        &self.benchmarks[run.benchmark].folder
    }

    /// Builds the benchmarks of the plan that are missing.
    ///
    /// # Errors
    /// There is no folder for the sweep; a corpus cannot be read; a folder cannot be written.
    pub fn build(&self) -> Result<()> {
        self.out()?;
        benchmarks::ensure_all(&self.benchmarks)
    }

    /// Lists the runs, one a line: number, spec hash, folder below `runs/`.
    pub fn list(&self) -> String {
        let mut list = String::new();
        for PlannedRun { number, hash, name, .. } in &self.runs {
            // A string takes every line.
            writeln!(list, "{number}\t{hash}\t{name}").ok();
        }
        list
    }
}

/// What is multiplied, besides benchmarks, methods and seeds.
struct PlanMatrix<'a> {
    plan: &'a Plan,
    recipe: Option<Recipe>,
    shared: toml::Table,
    /// Those of them that the command line gives.
    flags: &'a toml::Table,
    variants: Vec<Option<&'a Variant>>,
    encoders: Vec<Encoders>,
}

/// One combination of the matrix.
struct PlanCell<'a> {
    /// Position of the benchmark in the sweep.
    index: usize,
    benchmark: &'a SweepBenchmark,
    method: &'static MethodSpec,
    variant: Option<&'a Variant>,
    encoders: &'a Encoders,
    seed: u32,
}

/// The encoders of a run, with the name of the pair.
struct Encoders {
    name: Option<String>,
    text: String,
    vision: String,
}

impl<'a> PlanMatrix<'a> {
    fn new(plan: &'a Plan, given: &'a SweepOverrides) -> Result<Self> {
        let recipe = given.recipe.clone().or_else(|| plan.recipe.as_deref().map(|recipe| plan.resolve(recipe)));
        plan.check_shared(&plan.settings).map_err(|error| plan.error(format!("`settings`: {error}")))?;
        plan.check_shared(&given.settings)?;
        if given.settings.contains_key("train_seed") {
            let reason = "clashes with the seeds of the plan; list them in its `seeds`";
            return Err(Error::Usage(format!("--set train_seed: {reason}")));
        }
        let mut shared = plan.settings.clone();
        shared.extend(given.settings.clone());
        let variants = match plan.variants.as_slice() {
            [] => vec![None],
            variants => variants.iter().map(Some).collect(),
        };
        let single = [EncoderPair::default()];
        let pairs = if plan.encoders.is_empty() { &single[..] } else { &plan.encoders };
        let encoders = pairs.iter().map(|pair| Encoders::new(plan, pair, given)).collect();
        let recipe = recipe.as_deref().map(Recipe::read).transpose()?;
        Ok(Self { plan, recipe, shared, flags: &given.settings, variants, encoders })
    }

    fn unfold(&self, sweep: &Sweep) -> Result<Vec<PlannedRun>> {
        let mut runs = Vec::new();
        for (index, benchmark) in sweep.benchmarks.iter().enumerate() {
            check_tasks(self.plan, benchmark)?;
            for name in &self.plan.methods {
                let method = registry::find(name)?;
                refuse_text_only(self.plan, method, benchmark)?;
                for variant in self.variants.iter().copied() {
                    for encoders in self.encoders_of(method) {
                        for seed in self.plan.seeds.iter().copied() {
                            let cell = PlanCell { index, benchmark, method, variant, encoders, seed };
                            let mut run = self.planned(&cell, runs.len())?;
                            run.hash = spec::hash(&run, benchmark, &sweep.device, &sweep.dtype)?;
                            runs.push(run);
                        }
                    }
                }
            }
        }
        Ok(runs)
    }

    /// Returns the encoders that make a difference to a method: one that reads the text alone is not trained again for
    /// another vision encoder.
    fn encoders_of(&self, method: &MethodSpec) -> Vec<&Encoders> {
        let mut chosen: Vec<&Encoders> = Vec::new();
        for encoders in &self.encoders {
            let same = |other: &&Encoders| !method.multimodal() && other.text == encoders.text;
            if !chosen.iter().any(same) {
                chosen.push(encoders);
            }
        }
        chosen
    }

    fn settings(&self, cell: &PlanCell<'_>) -> Result<Resolved> {
        let mut flags = cell.variant.map(|variant| variant.set.clone()).unwrap_or_default();
        flags.insert("train_seed".to_owned(), i64::from(cell.seed).into());
        let given = Overrides { recipe: self.recipe.as_ref(), shared: self.shared.clone(), flags };
        registry::resolve(cell.benchmark.kind, cell.method, given).map_err(|error| {
            let variant = cell.variant.map_or_else(String::new, |variant| format!(", variant `{}`", variant.name));
            let place = format!("method `{}`{variant}, on {}", cell.method.name, cell.benchmark.name);
            let of_variant = |key: &String| cell.variant.is_some_and(|variant| variant.set.contains_key(key));
            match &error {
                Error::Config { key, .. } if self.flags.contains_key(key) && !of_variant(key) => {
                    Error::Usage(format!("--set: {place}: {error}"))
                }
                _ => self.plan.error(format!("{place}: {error}")),
            }
        })
    }

    fn planned(&self, cell: &PlanCell<'_>, number: usize) -> Result<PlannedRun> {
        let names = [cell.variant.map(|variant| variant.name.as_str()), cell.encoders.name.as_deref()];
        let names: Vec<&str> = names.into_iter().flatten().collect();
        let suffix: String = names.iter().map(|name| format!("-{name}")).collect();
        let file = format!("{}{suffix}-seed{}", cell.method.name, cell.seed);
        if file.len() > LONGEST {
            let remedy = "shorten the names of variants and encoders";
            return Err(self
                .plan
                .error(format!("{file}: is too long for the name of a file ({LONGEST} bytes); {remedy}")));
        }
        Ok(PlannedRun {
            number,
            method: cell.method,
            variant: Some(names.join(", ")).filter(|variant| !variant.is_empty()),
            settings: self.settings(cell)?,
            encoder: cell.encoders.text.clone(),
            vision: cell.encoders.vision.clone(),
            tasks: self.plan.tasks,
            name: format!("{}/{file}", cell.benchmark.name),
            hash: String::new(),
            benchmark: cell.index,
        })
    }
}

impl Encoders {
    /// Takes what the command line gives, then what the plan gives, then `tiny`.
    fn new(plan: &Plan, pair: &EncoderPair, given: &SweepOverrides) -> Self {
        let of_plan = |name: &String| {
            let folder = plan.resolve(Path::new(name));
            if name != TINY && folder.is_dir() { folder.to_string_lossy().into_owned() } else { name.clone() }
        };
        let choose = |given: &Option<String>, planned: &Option<String>| {
            given.clone().or_else(|| planned.as_ref().map(of_plan)).unwrap_or_else(|| TINY.to_owned())
        };
        Self {
            name: pair.name.clone(),
            text: choose(&given.encoder, &pair.text),
            vision: choose(&given.vision, &pair.vision),
        }
    }
}

fn check_tasks(plan: &Plan, benchmark: &SweepBenchmark) -> Result<()> {
    let all = benchmark.tasks;
    match plan.tasks {
        Some(tasks) if !(1..=all).contains(&tasks) => {
            let name = &benchmark.name;
            Err(plan.error(format!("`tasks` is {tasks}, but {name} has {all} tasks; give 1 to {all}, or leave it out")))
        }
        _ => Ok(()),
    }
}

fn refuse_text_only(plan: &Plan, method: &MethodSpec, benchmark: &SweepBenchmark) -> Result<()> {
    let text_only = benchmark.manifest.as_ref().is_some_and(|manifest| manifest.text_only);
    if !(text_only && method.multimodal()) {
        return Ok(());
    }
    let remedy = "give such benchmarks a plan of their own, with text methods (`mkgc ls methods`)";
    Err(plan.error(format!(
        "`{}` looks at pictures, and {} is a text-only benchmark; {remedy}",
        method.name, benchmark.name
    )))
}

/// Refuses two runs in one folder, and two runs that would give the same numbers under two names.
fn check_unlike(plan: &Plan, runs: &[PlannedRun]) -> Result<()> {
    let mut folders = BTreeMap::new();
    let mut contents = BTreeMap::new();
    for run in runs {
        if let Some(number) = folders.insert(&run.name, run.number) {
            let remedy = "rename a variant or an encoder";
            return Err(plan.error(format!("runs {number} and {} share the folder {}; {remedy}", run.number, run.name)));
        }
        let vision = run.method.multimodal().then_some(&run.vision);
        let config = serde_json::to_string(&run.settings.config)?;
        let content = (run.benchmark, run.method.name, &run.encoder, vision, config);
        if let Some(name) = contents.insert(content, &run.name) {
            let remedy = "they have the same settings, encoders and seed: delete a variant, or change what it sets";
            return Err(plan.error(format!("{name} and {} are the same run; {remedy}", run.name)));
        }
    }
    Ok(())
}
