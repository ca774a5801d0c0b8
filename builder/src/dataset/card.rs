//! Writes the `README.md` of a benchmark folder: a Hugging Face dataset card (<https://huggingface.co/docs/hub/datasets-cards>)
//! whose YAML names every config and split.

use std::fmt::Write;

use super::layout::{CROPS_FILE, IMAGES_FILE, shards_pattern, task_file};
use super::manifest::{Manifest, ManifestFile};
use crate::corpus::{CorpusReference, Extraction, Split};

/// Licences by the identifiers that the hub knows, which are SPDX identifiers in lower case.
const HUB_LICENSES: [&str; 32] = [
    "afl-3.0",
    "agpl-3.0",
    "apache-2.0",
    "bsd-2-clause",
    "bsd-3-clause",
    "c-uda",
    "cc0-1.0",
    "cc-by-2.0",
    "cc-by-2.5",
    "cc-by-3.0",
    "cc-by-4.0",
    "cc-by-nc-2.0",
    "cc-by-nc-3.0",
    "cc-by-nc-4.0",
    "cc-by-nc-nd-3.0",
    "cc-by-nc-nd-4.0",
    "cc-by-nc-sa-2.0",
    "cc-by-nc-sa-3.0",
    "cc-by-nc-sa-4.0",
    "cc-by-nd-4.0",
    "cc-by-sa-3.0",
    "cc-by-sa-4.0",
    "cdla-permissive-1.0",
    "cdla-permissive-2.0",
    "cdla-sharing-1.0",
    "gpl-3.0",
    "mit",
    "odbl",
    "odc-by",
    "pddl",
    "unlicense",
    "wtfpl",
];

/// Returns the text of the card. `facts` are sentences without full stops about the corpus files and their rows.
pub fn card(manifest: &Manifest, reference: &CorpusReference, facts: &[String]) -> String {
    let mut out = String::from("---\n");
    let mut line = |text: String| out.push_str(&format!("{text}\n"));
    line(format!("pretty_name: {}", quoted(&manifest.name)));
    line(format!("language:\n- {}", language(&reference.language)));
    line(license(reference));
    line(match manifest.task {
        Extraction::Relations => "task_categories:\n- text-classification".to_owned(),
        Extraction::Entities => {
            "task_categories:\n- token-classification\ntask_ids:\n- named-entity-recognition".to_owned()
        }
    });
    line(format!("size_categories:\n- {}", size_category(corpus_rows(manifest))));
    line("tags:\n- continual-learning\n- class-incremental\n- knowledge-graph".to_owned());
    if manifest.task == Extraction::Relations {
        line("- relation-extraction".to_owned());
    }
    if !manifest.text_only {
        line("- multimodal".to_owned());
    }
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
    out.push_str(&body(manifest, reference, facts));
    out
}

/// Returns a text in quotes, so that YAML takes it for nothing else, as it would `1.0` or `no`.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Returns the language of a BCP 47 tag without its region, as the hub lists languages; `und` stands for none.
fn language(tag: &str) -> String {
    let primary = tag.split(['-', '_']).next().unwrap_or_default().trim().to_lowercase();
    quoted(if primary.is_empty() { "und" } else { &primary })
}

/// Returns the licence in the hub's keys.
fn license(reference: &CorpusReference) -> String {
    let Some(license) = &reference.license else { return "license: unknown".to_owned() };
    let lower = license.to_lowercase();
    if HUB_LICENSES.contains(&lower.as_str()) {
        return format!("license: {lower}");
    }
    let name: String = lower.chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' }).collect();
    let name = name.split('-').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("-");
    let link = if license.starts_with("http") { license } else { &reference.homepage };
    let link = if link.is_empty() { String::new() } else { format!("\nlicense_link: {}", quoted(link)) };
    format!("license: other\nlicense_name: {}{link}", quoted(&name))
}

/// Counts the rows of all tasks; a cumulative test counts once.
fn corpus_rows(manifest: &Manifest) -> usize {
    let rows = |task, split| manifest.task_file(task, split).and_then(|file| file.rows).unwrap_or(0);
    let tasks = 0..manifest.tasks.len();
    let learned: usize = tasks.clone().map(|task| rows(task, Split::Train) + rows(task, Split::Validation)).sum();
    let tests = tasks.map(|task| rows(task, Split::Test));
    learned + if manifest.tests == "cumulative" { tests.max().unwrap_or(0) } else { tests.sum() }
}

/// Returns the hub's name for a number of rows.
fn size_category(rows: usize) -> &'static str {
    match rows {
        0..1_000 => "n<1K",
        1_000..10_000 => "1K<n<10K",
        10_000..100_000 => "10K<n<100K",
        100_000..1_000_000 => "100K<n<1M",
        1_000_000..10_000_000 => "1M<n<10M",
        _ => "10M<n<100M",
    }
}

/// A split of a config of the card.
struct CardSplit {
    name: String,
    path: String,
    rows: usize,
    bytes: u64,
}

/// Returns the configs with their splits: one per task, and one each for the pictures and the crops, if there are any. A
/// split without rows is left out, because `datasets` does not load one.
fn configs(manifest: &Manifest) -> Vec<(String, Vec<CardSplit>)> {
    let split = |name: &str, path: String, files: &[&ManifestFile]| CardSplit {
        name: name.to_owned(),
        path,
        rows: files.iter().filter_map(|file| file.rows).sum(),
        bytes: files.iter().map(|file| file.bytes).sum(),
    };
    let task_split = |task, of: Split| {
        let files: Vec<&ManifestFile> = manifest.task_file(task, of).into_iter().collect();
        split(of.name(), task_file(task, of), &files)
    };
    let splits = |task| Split::ALL.into_iter().map(|of| task_split(task, of)).filter(|split| split.rows > 0).collect();
    let mut configs: Vec<(String, Vec<CardSplit>)> =
        (0..manifest.tasks.len()).map(|task| (format!("task_{task:02}"), splits(task))).collect();
    for (name, file) in [("images", IMAGES_FILE), ("crops", CROPS_FILE)] {
        let files = filled_parts(manifest, file);
        match files.len() {
            0 => {}
            1 => configs.push((name.to_owned(), vec![split("train", file.to_owned(), &files)])),
            _ => configs.push((name.to_owned(), vec![split("train", shards_pattern(file), &files)])),
        }
    }
    configs
}

/// Returns the entries of an images or crops file or its shards that have rows.
fn filled_parts<'a>(manifest: &'a Manifest, file: &'static str) -> Vec<&'a ManifestFile> {
    manifest.parts(file).filter(|part| part.rows != Some(0)).collect()
}

/// Returns how rows and pictures belong together, for people; nothing for a benchmark without an images file.
fn pictures(manifest: &Manifest) -> &'static str {
    match (filled_parts(manifest, IMAGES_FILE).is_empty(), manifest.images_by_split) {
        (true, _) => "",
        (false, false) => {
            "\nThe config `images` has each picture once: the `image_id` of a row is the `id` of its picture there.\n"
        }
        (false, true) => {
            "\nThe config `images` has each picture once. Splits have pictures of their own, and a name may occur in several:\n\
             the picture of a row has the row's `image_id` as `id` and the row's split, `train`, `validation` or `test`, as\n\
             `split`.\n\n\
             ```python\nimages = load_dataset(\"PATH_OF_THIS_FOLDER\", \"images\", split=\"train\")\n\
             at = {(image[\"split\"], image[\"id\"]): n for n, image in enumerate(images.select_columns([\"split\", \"id\"]))}\n\
             picture = images[at[\"test\", task[\"test\"][0][\"image_id\"]]][\"image\"]\n```\n"
        }
    }
}

/// Returns the part for people, below the YAML.
fn body(manifest: &Manifest, reference: &CorpusReference, facts: &[String]) -> String {
    let mut out = format!("\n# {}\n\n", manifest.name);
    if !manifest.description.is_empty() {
        let _ = write!(out, "{}.\n\n", manifest.description.trim_end_matches('.'));
    }
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
        let classes = task.classes.join(", ").replace('|', "\\|");
        let _ = writeln!(out, "| {k} | {classes} | {} | {} | {} |", rows[0], rows[1], rows[2]);
    }
    out.push_str(
        "\n```python\nfrom datasets import load_dataset\ntask = load_dataset(\"PATH_OF_THIS_FOLDER\", \"task_00\")\n```\n\n\
         Label id 0 is `None` (relations) or `O` (tags). `owner_task` is the task that owns a row; `original_*` columns\n\
         keep the labels of the corpus beside those of the protocol. Counts and known defects are in `stats.json`, hashes\n\
         and fingerprints of every file in `manifest.json`; `mkgc verify` checks them.\n",
    );
    out.push_str(pictures(manifest));
    if !facts.is_empty() {
        out.push_str("\n## Corpus files and rows\n\n");
        facts.iter().for_each(|fact| out.push_str(&format!("- {}.\n", fact.trim_end_matches('.'))));
    }
    if !reference.citation.is_empty() {
        let _ = write!(out, "\n## Citation\n\nCite the corpus if you use the benchmark: {}\n", reference.citation);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reference(license: Option<&str>, homepage: &str) -> CorpusReference {
        CorpusReference {
            origin: "Mine".to_owned(),
            homepage: homepage.to_owned(),
            citation: String::new(),
            license: license.map(str::to_owned),
            language: "en".to_owned(),
            version: None,
            published: None,
        }
    }

    #[test]
    fn licences_are_written_as_the_hub_knows_them() {
        for (given, homepage, written) in [
            (None, "", "license: unknown"),
            (Some("CC-BY-4.0"), "", "license: cc-by-4.0"),
            (Some("MIT"), "https://x.org", "license: mit"),
            (Some("LDC User Agreement"), "", "license: other\nlicense_name: \"ldc-user-agreement\""),
            (
                Some("LDC (paid)"),
                "https://x.org",
                "license: other\nlicense_name: \"ldc-paid\"\nlicense_link: \"https://x.org\"",
            ),
        ] {
            assert_eq!(license(&reference(given, homepage)), written);
        }
    }

    #[test]
    fn languages_and_sizes_are_written_as_the_hub_lists_them() {
        assert_eq!(language("pt-BR"), "\"pt\"");
        assert_eq!(language("no"), "\"no\"", "YAML takes a bare no for false");
        assert_eq!(size_category(999), "n<1K");
        assert_eq!(size_category(15_485), "10K<n<100K");
        assert_eq!(size_category(1_000_000), "1M<n<10M");
    }
}
