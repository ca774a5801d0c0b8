//! A plan: which methods, seeds and variants of settings to run, as TOML.
//!
//! ```toml
//! methods = ["lmc"]
//! seeds = [42]                  # train_seed of each run; default 42
//! tasks = 4                     # stop after so many tasks; default all
//!
//! [[variants]]                  # default: one run per method and seed with the settings as they are
//! name = "full"
//!
//! [[variants]]
//! name = "no-distillation"
//! set = { lambda = 0.0 }        # every method of the plan must read it
//! ```

use std::collections::BTreeSet;
use std::path::Path;

use serde::Deserialize;

use crate::config::settings::SETTINGS;
use crate::config::unknown;
use crate::error::{Error, Result};
use crate::methods::registry;
use crate::report;
use crate::run::RunFolder;
use crate::train::{Request, Run};

/// A plan, as its TOML file holds it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    methods: Vec<String>,
    #[serde(default = "one_seed")]
    seeds: Vec<u32>,
    /// Stop after so many tasks; all of them if not given.
    pub tasks: Option<usize>,
    #[serde(default)]
    variants: Vec<Variant>,
}

/// Settings that replace a method's own.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Variant {
    name: String,
    #[serde(default)]
    set: toml::Table,
}

/// One run of a plan.
#[derive(Debug, Clone, PartialEq)]
pub struct Planned {
    /// Name of the method.
    pub method: String,
    /// The variant's name, if the plan has variants.
    pub variant: Option<String>,
    /// Settings of the variant and the seed; the method must read each.
    pub settings: toml::Table,
    seed: u32,
}

fn one_seed() -> Vec<u32> {
    vec![42]
}

impl Plan {
    /// Reads a plan and checks its names of methods and variants; settings are checked when they are resolved.
    ///
    /// # Errors
    /// A file that is missing or no plan; a method that is not in the registry.
    pub fn read(path: &Path) -> Result<Self> {
        let bad = |reason: String| Error::Usage(format!("{}: {reason}", path.display()));
        let plan: Self = toml::from_str(&fs_err::read_to_string(path)?).map_err(|error| bad(error.to_string()))?;
        if plan.methods.is_empty() || plan.seeds.is_empty() {
            return Err(bad("`methods` and `seeds` must name at least one each".to_owned()));
        }
        for method in &plan.methods {
            registry::find(method).map_err(|error| bad(error.to_string()))?;
        }
        let plain =
            |name: &str| name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)) && !name.is_empty();
        if let Some(variant) = plan.variants.iter().find(|variant| !plain(&variant.name)) {
            return Err(bad(format!("variant `{}`: use letters, digits, `-`, `_`, `.` for a name", variant.name)));
        }
        Ok(plan)
    }

    /// Checks that each of the settings that serve all runs of the plan is read by at least one of its methods.
    ///
    /// # Errors
    /// A setting that none of them reads.
    pub fn check_shared(&self, settings: &toml::Table) -> Result<()> {
        let mut reads = BTreeSet::new();
        for method in &self.methods {
            reads.extend(registry::find(method)?.reads());
        }
        let Some(key) = settings.keys().find(|key| !reads.contains(key.as_str())) else { return Ok(()) };
        let reason = if SETTINGS.iter().any(|setting| setting.key == key) {
            let reads: Vec<&str> = reads.into_iter().collect();
            format!("no method of the plan reads it. They read: {}", reads.join(", "))
        } else {
            unknown(key, reads.iter().copied())
        };
        Err(Error::Config { key: key.clone(), reason })
    }

    /// Returns every run, methods outermost, seeds innermost.
    pub fn runs(&self) -> Vec<Planned> {
        let plain = [None];
        let named: Vec<Option<&Variant>> = self.variants.iter().map(Some).collect();
        let variants = if named.is_empty() { &plain[..] } else { &named[..] };
        let mut runs = Vec::new();
        for method in &self.methods {
            for variant in variants {
                for seed in &self.seeds {
                    let mut settings = variant.map(|variant| variant.set.clone()).unwrap_or_default();
                    settings.insert("train_seed".to_owned(), i64::from(*seed).into());
                    let variant = variant.map(|variant| variant.name.clone());
                    runs.push(Planned { method: method.clone(), variant, settings, seed: *seed });
                }
            }
        }
        runs
    }
}

impl Planned {
    /// Returns the name of the run's folder, e.g. `lmc-no-distillation-seed42`.
    pub fn folder(&self) -> String {
        let variant = self.variant.as_ref().map_or_else(String::new, |variant| format!("-{variant}"));
        format!("{}{variant}-seed{}", self.method, self.seed)
    }
}

/// Trains one run after another, going on where one fails, and returns the report over those that began and what went
/// wrong. The report is empty if no run is finished.
///
/// # Errors
/// The runs cannot be read or compared; the report cannot be written.
pub fn run(requests: &[Request], out: &Path) -> Result<(String, Vec<String>)> {
    let mut failures = Vec::new();
    for request in requests {
        let folder = request.out.display();
        eprintln!("{folder}");
        if let Err(error) = Run::open(request.clone()).and_then(|run| run.train()) {
            eprintln!("error: {error}");
            failures.push(format!("{folder}: {error}"));
        }
    }
    if !requests.iter().any(|request| RunFolder::new(&request.out).result().exists()) {
        return Ok((String::new(), failures));
    }
    let begun = requests.iter().filter(|request| RunFolder::new(&request.out).started());
    let loaded = report::load(&begun.map(|request| &request.out).collect::<Vec<_>>())?;
    Ok((report::write(&report::boards(loaded)?, out)?, failures))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::config::Overrides;

    fn plan(text: &str) -> Result<Plan> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("plan.toml");
        fs_err::write(&path, text).unwrap();
        Plan::read(&path)
    }

    #[test]
    fn a_plan_unfolds_to_methods_times_variants_times_seeds() {
        let text = "methods = [\"lmc\", \"emr\"]\nseeds = [1, 2]\n[[variants]]\nname = \"full\"\n[[variants]]\nname = \"still\"\nset = { noise = false }\n";
        let runs = plan(text).unwrap().runs();
        let folders: Vec<String> = runs.iter().map(Planned::folder).collect();
        assert_eq!(folders[..3], ["lmc-full-seed1", "lmc-full-seed2", "lmc-still-seed1"]);
        assert_eq!(folders.len(), 8);
        assert_eq!(runs[2].settings["noise"], toml::Value::Boolean(false));
        assert_eq!(runs[2].settings["train_seed"], toml::Value::Integer(1));
        let plain = plan("methods = [\"emr\"]").unwrap().runs();
        assert_eq!((plain.len(), plain[0].folder().as_str()), (1, "emr-seed42"));
    }

    #[test]
    fn wrong_plans_name_the_file_and_the_mistake() {
        for (text, message) in [
            ("methods = [\"lcm\"]", "did you mean `lmc`"),
            ("methods = []", "at least one"),
            ("method = [\"lmc\"]", "unknown field `method`"),
            ("methods = [\"lmc\"]\n[[variants]]\nname = \"a/b\"", "variant `a/b`"),
        ] {
            let error = plan(text).unwrap_err().to_string();
            assert!(error.contains(message) && error.contains("plan.toml"), "{error}");
        }
    }

    #[test]
    fn a_setting_for_all_runs_is_read_by_a_method_of_the_plan() {
        let plan = plan("methods = [\"lmc\", \"emr\"]").unwrap();
        let check = |text: &str| plan.check_shared(&toml::from_str(text).unwrap()).map_err(|error| error.to_string());
        assert_eq!(check("epochs = 1\nshared_layers = 1"), Ok(()));
        assert!(check("key_size = 3").unwrap_err().contains("no method of the plan reads it"));
        assert!(check("lambada = 1").unwrap_err().contains("did you mean `lambda`"));
    }

    #[test]
    fn shipped_plans_are_valid() {
        for entry in fs_err::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/plans")).unwrap() {
            let path = entry.unwrap().path();
            for run in Plan::read(&path).unwrap().runs() {
                let kind = mkgc_builder::corpus::Extraction::Relations;
                let given = Overrides { flags: run.settings, ..Overrides::default() };
                registry::resolve(kind, registry::find(&run.method).unwrap(), given).unwrap();
            }
        }
    }
}
