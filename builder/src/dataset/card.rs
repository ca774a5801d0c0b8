//! Writes the `README.md` of a benchmark folder: a Hugging Face dataset card whose YAML names every config and split.

use std::fmt::Write;

use super::layout::{CROPS_FILE, IMAGES_FILE, task_file};
use super::manifest::Manifest;
use crate::corpus::{CorpusReference, Extraction, Split};

/// Returns the text of the card.
pub fn card(manifest: &Manifest, reference: &CorpusReference) -> String {
    let mut out = String::from("---\n");
    let category = match manifest.task {
        Extraction::Relations => "text-classification",
        Extraction::Entities => "token-classification",
    };
    let mut line = |text: String| out.push_str(&format!("{text}\n"));
    line(format!("pretty_name: {}\nlanguage:\n- en\ntask_categories:\n- {category}", manifest.name));
    line("tags:\n- continual-learning\n- class-incremental\n- multimodal\n- knowledge-graph".to_owned());
    let configs = configs(manifest);
    line("configs:".to_owned());
    for (i, (config, splits)) in configs.iter().enumerate() {
        line(format!("- config_name: {config}"));
        if i == 0 {
            line("  default: true".to_owned());
        }
        line("  data_files:".to_owned());
        for CardSplit { name, path, .. } in splits {
            line(format!("  - split: {name}\n    path: {path}"));
        }
    }
    line("dataset_info:".to_owned());
    for (config, splits) in &configs {
        line(format!("- config_name: {config}\n  splits:"));
        for CardSplit { name, rows, bytes, .. } in splits {
            line(format!("  - name: {name}\n    num_bytes: {bytes}\n    num_examples: {rows}"));
        }
    }
    line("---".to_owned());
    out.push_str(&body(manifest, reference));
    out
}

/// A split of a config.
struct CardSplit {
    name: String,
    path: String,
    rows: usize,
    bytes: u64,
}

/// Returns the configs with their splits: one per task, and one each for the pictures and the crops, if there are any.
fn configs(manifest: &Manifest) -> Vec<(String, Vec<CardSplit>)> {
    let split = |name: &str, path: String| {
        let file = manifest.files.iter().find(|file| file.path == path);
        let rows = file.and_then(|file| file.rows).unwrap_or(0);
        CardSplit { name: name.to_owned(), path, rows, bytes: file.map_or(0, |file| file.bytes) }
    };
    let splits = |task| Split::ALL.into_iter().map(|s| split(s.name(), task_file(task, s))).collect();
    let mut configs: Vec<(String, Vec<CardSplit>)> =
        (0..manifest.tasks.len()).map(|task| (format!("task_{task:02}"), splits(task))).collect();
    for (name, path) in [("images", IMAGES_FILE), ("crops", CROPS_FILE)] {
        if manifest.files.iter().any(|file| file.path == path) {
            configs.push((name.to_owned(), vec![split("train", path.to_owned())]));
        }
    }
    configs
}

/// Returns the part for people, below the YAML.
fn body(manifest: &Manifest, reference: &CorpusReference) -> String {
    let mut out = format!("\n# {}\n\n{}.\n\n", manifest.name, manifest.description);
    let origin = &reference.origin;
    let rights = reference
        .license
        .as_ref()
        .map_or_else(|| "the rights are those of the corpus".to_owned(), |license| format!("license: {license}"));
    let _ = write!(
        out,
        "Built by mkgc from {origin}; {rights}. A task brings new classes; a model learns the\n\
         tasks in order and is tested after each on `test`, which is {}.\n\nContent fingerprint: `{}`\n\n\
         | task | classes | train | validation | test |\n|---|---|---:|---:|---:|\n",
        if manifest.tests == "cumulative" { "cumulative" } else { "that of the task alone" },
        manifest.fingerprint,
    );
    for (k, task) in manifest.tasks.iter().enumerate() {
        let rows = Split::ALL.map(|split| manifest.task_file(k, split).and_then(|file| file.rows).unwrap_or(0));
        let _ = writeln!(out, "| {k} | {} | {} | {} | {} |", task.classes.join(", "), rows[0], rows[1], rows[2]);
    }
    out.push_str(
        "\n```python\nfrom datasets import load_dataset\ntask = load_dataset(\"PATH_OF_THIS_FOLDER\", \"task_00\")\n```\n\n\
         Label id 0 is `None` (relations) or `O` (tags). `owner_task` is the task that owns a row; `original_*` columns\n\
         keep the labels of the corpus beside those of the protocol. Counts and known defects are in `stats.json`, hashes\n\
         and fingerprints of every file in `manifest.json`; `mkgc verify` checks them.\n",
    );
    out
}
