//! `mkgc ls`: benchmarks, methods and their settings as tab-separated tables, a heading first.

use anyhow::Result;
use clap::Subcommand;
use mkgc_builder::corpus::Extraction;
use mkgc_builder::protocol::{Protocol, SHIPPED};
use mkgc_harness::config::Config;
use mkgc_harness::config::settings::SETTINGS;
use mkgc_harness::console::print;
use mkgc_harness::methods::{METHODS, MethodSpec, registry};
use schemars::schema_for;
use serde_json::{Map, Value};

#[derive(Subcommand)]
pub enum Listing {
    /// Shipped benchmarks: corpus, number of task orders, meaning; tab-separated.
    Benchmarks,
    /// Methods: modality, memory, source; tab-separated.
    Methods,
    /// Settings that a method reads: default, unit, source, meaning; tab-separated.
    Settings {
        /// One of `mkgc ls methods`.
        method: String,
    },
}

/// Prints the listing that was asked for.
pub fn ls(listing: &Listing) -> Result<()> {
    let table = match listing {
        Listing::Benchmarks => benchmarks()?,
        Listing::Methods => methods(),
        Listing::Settings { method } => settings(registry::find(method)?)?,
    };
    Ok(print(&table)?)
}

fn benchmarks() -> Result<String> {
    let mut table = "name\tcorpus\torders\tabout\n".to_owned();
    for (name, text) in SHIPPED {
        let protocol = Protocol::parse(text)?;
        let orders = protocol.orders().max(1);
        table += &format!("{name}\t{}\t{orders}\t{}\n", protocol.corpus.name(), protocol.description);
    }
    Ok(table)
}

fn methods() -> String {
    let mut table = "name\tmodality\trehearses\tmemory\tsource\tabout\n".to_owned();
    for method in METHODS {
        let rehearses = if method.rehearses() { "yes" } else { "no" };
        let name = method.name;
        let modality = method.modality();
        let memory = method.keeps.phrase();
        table += &format!("{name}\t{modality}\t{rehearses}\t{memory}\t{}\t{}\n", method.source, method.about);
    }
    table
}

fn settings(method: &MethodSpec) -> Result<String> {
    let reads = method.reads();
    let meanings = schema_for!(Config).to_value();
    let relations = Defaults::new(method, Extraction::Relations)?;
    let entities = Defaults::new(method, Extraction::Entities)?;
    let mut table = "setting\tdefault\tunit\tsource\tabout\n".to_owned();
    for setting in SETTINGS.iter().filter(|setting| reads.contains(&setting.key)) {
        let key = setting.key;
        let relations_value = relations.value(key);
        let entities_value = entities.value(key);
        let default = if relations_value == entities_value {
            relations_value
        } else {
            format!("relations {relations_value}, entities {entities_value}")
        };
        let changed = relations.changed(key) || entities.changed(key);
        let unit = setting.unit;
        let source = if changed { method.defaults_source } else { setting.source };
        let about = meanings["properties"][key]["description"].as_str().unwrap_or_default().replace('\n', " ");
        table += &format!("{key}\t{default}\t{unit}\t{source}\t{about}\n");
    }
    Ok(table)
}

/// The defaults of a method beside the shared ones.
struct Defaults {
    method: Map<String, Value>,
    shared: Map<String, Value>,
}

impl Defaults {
    fn new(method: &MethodSpec, kind: Extraction) -> Result<Self> {
        let map = |config: &Config| serde_json::from_value(serde_json::to_value(config)?);
        Ok(Self { method: map(&method.config(kind))?, shared: map(&Config::shared(kind))? })
    }

    fn value(&self, key: &str) -> String {
        match &self.method[key] {
            Value::String(text) => text.clone(),
            // Rates are easier to compare as powers of ten.
            Value::Number(number) if number.as_f64().is_some_and(|value| value > 0.0 && value < 1e-3) => {
                format!("{:e}", number.as_f64().unwrap_or_default())
            }
            other => other.to_string(),
        }
    }

    /// Returns whether the method's default differs from the shared one.
    fn changed(&self, key: &str) -> bool {
        self.method[key] != self.shared[key]
    }
}
